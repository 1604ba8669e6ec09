//! The ring of keys that servers share.

use avvy_auth::{KeyRing, Keys, MIN_PERIOD_S, PUBLISH_LEAD_S};
use avvy_identity::{KeyStore, KeysError};

use super::{Case, Kit, NOW_S};

pub const CASES: &[Case] = &[
    |kit| Box::pin(servers_have_one_ring(kit)),
    |kit| Box::pin(keys_take_turns_for_all(kit)),
    |kit| Box::pin(a_secret_seals_them(kit)),
];

fn names(ring: &KeyRing) -> Vec<String> {
    ring.public_keys().iter().map(|key| key.kid().to_owned()).collect()
}

async fn servers_have_one_ring(kit: Kit) {
    let (one, other) = (KeyStore::new(kit.records.clone(), None), KeyStore::new(kit.records, None));
    assert!(one.read(NOW_S).await.unwrap().is_none());
    let (left, right) = tokio::join!(one.advance(None, 0, NOW_S), other.advance(None, 0, NOW_S));
    assert_eq!(names(&left.unwrap()), names(&right.unwrap()));
    // One that somebody has on disk comes too late.
    let mine = KeyRing::new(Keys::generate([9; 32]), 1);
    let kept = one.advance(Some(&mine), 0, NOW_S).await.unwrap();
    assert_ne!(names(&kept), names(&mine));
}

async fn keys_take_turns_for_all(kit: Kit) {
    let nodes = [0; 3].map(|_| KeyStore::new(kit.records.clone(), None));
    let mine = KeyRing::new(Keys::generate([9; 32]), NOW_S);
    let first = nodes[0].advance(Some(&mine), MIN_PERIOD_S, NOW_S).await.unwrap();
    assert_eq!(names(&first), names(&mine));
    let all = async |now_s| {
        let [a, b, c] = &nodes;
        let turns = tokio::join!(
            a.advance(None, MIN_PERIOD_S, now_s),
            b.advance(None, MIN_PERIOD_S, now_s),
            c.advance(None, MIN_PERIOD_S, now_s),
        );
        let rings = [turns.0.unwrap(), turns.1.unwrap(), turns.2.unwrap()];
        assert!(rings.iter().all(|ring| names(ring) == names(&rings[0])), "one for all");
        rings[0].clone()
    };
    // Published for a day before it signs, the same for all.
    let published = all(NOW_S + MIN_PERIOD_S - PUBLISH_LEAD_S).await;
    assert_eq!(published.public_keys().len(), 2);
    assert_eq!(published.present().public(), first.present().public());
    let turned = all(NOW_S + MIN_PERIOD_S).await;
    assert_eq!(turned.present().public().kid(), names(&published)[1]);
    assert_eq!(names(&turned).len(), 2, "the former one still counts");
}

async fn a_secret_seals_them(kit: Kit) {
    let secret = "a secret of thirty-two bytes or more";
    let plain = KeyStore::new(kit.records.clone(), None);
    let ring = plain.advance(None, 0, NOW_S).await.unwrap();
    let sealed = KeyStore::new(kit.records.clone(), Some(secret));
    assert_eq!(names(&sealed.advance(None, 0, NOW_S).await.unwrap()), names(&ring));
    // From now on nobody reads them who does not have it.
    assert_eq!(plain.read(NOW_S).await.err(), Some(KeysError::NoSecret));
    let other = KeyStore::new(kit.records.clone(), Some("another secret of thirty-two bytes"));
    assert_eq!(other.read(NOW_S).await.err(), Some(KeysError::WrongSecret));
    assert_eq!(other.advance(None, 0, NOW_S).await.err(), Some(KeysError::WrongSecret));
    let text = ring.to_text();
    let pem = text.lines().find(|line| line.starts_with("MC4")).unwrap();
    let stored = kit.records.scan(None).await.unwrap();
    assert!(!stored.is_empty() && !format!("{stored:?}").contains(pem));
    assert_eq!(sealed.read(NOW_S).await.unwrap().unwrap().to_text(), text);
}
