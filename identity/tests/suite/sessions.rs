//! Sign-ins that last.

use avvy_auth::Revocation;
use avvy_auth::family::RefreshError;
use avvy_identity::IdentityError;
use avvy_model::Code;
use avvy_persistence::records::SweepPlace;
use uuid::Uuid;

use super::{Case, Kit, NOW_S, at};

pub const CASES: &[Case] = &[
    |kit| Box::pin(the_same_name_is_the_same_user(kit)),
    |kit| Box::pin(a_refresh_gives_the_next_tokens(kit)),
    |kit| Box::pin(a_refresh_token_that_comes_again_ends_the_sign_in(kit)),
    |kit| Box::pin(two_at_once_get_the_same(kit)),
    |kit| Box::pin(signing_out_ends_one_sign_in(kit)),
    |kit| Box::pin(signing_out_everywhere_ends_all(kit)),
    |kit| Box::pin(what_has_ended_stays_so_when_nobody_knows_it_any_more(kit)),
    |kit| Box::pin(sign_ins_are_bounded_and_end(kit)),
    |kit| Box::pin(made_up_refresh_tokens_lock_nobody_out(kit)),
];

async fn the_same_name_is_the_same_user(kit: Kit) {
    let (first, second) = tokio::join!(kit.dev("ada"), kit.dev("ada"));
    assert_eq!(first.user, second.user);
    assert!(first.is_new != second.is_new, "one of them made the user");
    assert_ne!(first.session, second.session);
    assert_ne!(kit.dev("bob").await.user, first.user);
    let ada = kit.identity.user(first.user, NOW_S).await.unwrap().unwrap();
    assert_eq!(ada.name, "ada");
    let claims = kit.claims(&first.access, NOW_S).unwrap();
    assert_eq!((claims.user, claims.session), (first.user, Some(first.session)));
    assert_eq!(claims.name.as_deref(), Some("ada"));
    assert_eq!(first.access_ends_s, NOW_S + 900);
    for bad in ["", "a b", "ä", &"x".repeat(33)] {
        let refused = kit.identity.sign_in_for_development(bad, &at(NOW_S)).await.err();
        assert_eq!(refused.unwrap().code(), Code::Malformed, "{bad:?}");
    }
    let closed = Kit::with(kit.records.clone(), |options| options.development = false);
    let refused = closed.identity.sign_in_for_development("ada", &at(NOW_S)).await.err();
    assert_eq!(refused, Some(IdentityError::NotOffered));
}

async fn a_refresh_gives_the_next_tokens(kit: Kit) {
    let first = kit.dev("ada").await;
    let other = kit.other_node();
    let second = other.refresh(&first.refresh.text(), &at(NOW_S + 600)).await.unwrap();
    assert_eq!((second.user, second.session), (first.user, first.session));
    assert_eq!(second.refresh_ends_s, NOW_S + 600 + 14 * 86_400);
    assert!(kit.claims(&second.access, NOW_S + 1_400).is_ok());
    let third = kit.identity.refresh(&second.refresh.text(), &at(NOW_S + 1_200)).await.unwrap();
    assert_ne!(third.refresh.text(), second.refresh.text());
    let listed = kit.identity.sessions(first.user, NOW_S + 1_200).await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(
        (listed[0].id, listed[0].began_s, listed[0].used_s),
        (first.session, NOW_S, NOW_S + 1_200)
    );
    assert_eq!(
        (listed[0].by.as_str(), listed[0].agent.as_deref()),
        ("development as ada", Some("test"))
    );
    // Idle for too long.
    let late = at(NOW_S + 1_200 + 14 * 86_400);
    let refused = kit.identity.refresh(&third.refresh.text(), &late).await.err().unwrap();
    assert!(matches!(refused.code(), Code::TokenInvalid | Code::TokenExpired), "{refused:?}");
    assert_eq!(kit.identity.sessions(first.user, late.now_s).await, Ok(vec![]));
}

async fn a_refresh_token_that_comes_again_ends_the_sign_in(kit: Kit) {
    let first = kit.dev("ada").await;
    let kept = kit.dev("ada").await;
    let second = kit.identity.refresh(&first.refresh.text(), &at(NOW_S + 60)).await.unwrap();
    // The answer may have been lost: the same once more.
    let again = kit.identity.refresh(&first.refresh.text(), &at(NOW_S + 65)).await.unwrap();
    assert_eq!(again.refresh.text(), second.refresh.text());
    let reused = kit.identity.refresh(&first.refresh.text(), &at(NOW_S + 90)).await.err();
    assert_eq!(reused, Some(IdentityError::Refresh(RefreshError::Reused)));
    assert_eq!(reused.unwrap().code(), Code::TokenRevoked);
    // Whoever has the rest of it is out, too, with all access tokens.
    for dead in [&first, &second, &again] {
        assert!(kit.identity.refresh(&dead.refresh.text(), &at(NOW_S + 91)).await.is_err());
        assert_eq!(kit.claims(&dead.access, NOW_S + 91).err(), Some(None));
    }
    assert!(kit.claims(&kept.access, NOW_S + 91).is_ok(), "another sign-in is not touched");
    assert!(kit.identity.refresh(&kept.refresh.text(), &at(NOW_S + 91)).await.is_ok());
}

async fn two_at_once_get_the_same(kit: Kit) {
    let (one, other) = (kit.identity.clone(), kit.other_node());
    let mut tokens = kit.dev("ada").await;
    for round in 1..=5 {
        let (asker, text) = (at(NOW_S + 60 * round), tokens.refresh.text());
        let (left, right) = tokio::join!(one.refresh(&text, &asker), other.refresh(&text, &asker));
        let (left, right) = (left.unwrap(), right.unwrap());
        assert_eq!(left.refresh.text(), right.refresh.text(), "never two that are good");
        tokens = left;
    }
    // A stolen token that is used after its successor was, twice at once.
    let (asker, text) = (at(NOW_S + 400), tokens.refresh.text());
    let next = one.refresh(&text, &asker).await.unwrap();
    one.refresh(&next.refresh.text(), &asker).await.unwrap();
    let (left, right) = tokio::join!(one.refresh(&text, &asker), other.refresh(&text, &asker));
    assert!(left.is_err() && right.is_err());
    assert_eq!(kit.claims(&tokens.access, NOW_S + 400).err(), Some(None));
}

async fn signing_out_ends_one_sign_in(kit: Kit) {
    let (first, second) = (kit.dev("ada").await, kit.dev("ada").await);
    let theirs = kit.dev("bob").await;
    let claims = kit.claims(&first.access, NOW_S).unwrap();
    kit.identity.sign_out(&claims, NOW_S + 1).await.unwrap();
    assert_eq!(kit.claims(&first.access, NOW_S + 1).err(), Some(None));
    let refused = kit.identity.refresh(&first.refresh.text(), &at(NOW_S + 1)).await.err();
    assert_eq!(refused, Some(IdentityError::Refresh(RefreshError::Malformed)));
    assert!(kit.claims(&second.access, NOW_S + 1).is_ok());

    // Sign-ins of others are nobody's business.
    let unknown = Err(IdentityError::UnknownSession);
    let ada = first.user;
    assert_eq!(kit.identity.end_session(ada, theirs.session, NOW_S + 1).await, unknown);
    assert_eq!(kit.identity.end_session(ada, Uuid::nil(), NOW_S + 1).await, unknown);
    assert!(kit.claims(&theirs.access, NOW_S + 1).is_ok());
    kit.identity.end_session(ada, second.session, NOW_S + 1).await.unwrap();
    assert_eq!(kit.claims(&second.access, NOW_S + 1).err(), Some(None));
    assert_eq!(kit.identity.sessions(ada, NOW_S + 1).await, Ok(vec![]));
}

async fn signing_out_everywhere_ends_all(kit: Kit) {
    let (first, second) = (kit.dev("ada").await, kit.dev("ada").await);
    let theirs = kit.dev("bob").await;
    kit.identity.sign_out_everywhere(&kit.of(&first), NOW_S).await.unwrap();
    for dead in [&first, &second] {
        assert_eq!(kit.claims(&dead.access, NOW_S).err(), Some(None));
        assert!(kit.identity.refresh(&dead.refresh.text(), &at(NOW_S)).await.is_err());
    }
    assert!(kit.claims(&theirs.access, NOW_S).is_ok());
    // Even within the same second the user is in again.
    let again = kit.dev("ada").await;
    assert!(kit.claims(&again.access, NOW_S).is_ok());
    assert!(kit.identity.refresh(&again.refresh.text(), &at(NOW_S)).await.is_ok());
    assert_eq!(kit.identity.sessions(first.user, NOW_S).await.unwrap().len(), 1);
    // A node that has not cleared up yet lets nobody go on all the same.
    let late = kit.dev("ada").await;
    let user = late.user;
    let (issued_s, is_lasting) = (NOW_S + 9, false);
    kit.revoked.0.lock().unwrap().add(Revocation::Before { user, issued_s, is_lasting });
    let refused = kit.identity.refresh(&late.refresh.text(), &at(NOW_S + 8)).await.err();
    assert_eq!(refused, Some(IdentityError::SignedOut));
    assert_eq!(kit.identity.sessions(user, NOW_S + 8).await, Ok(vec![]));
}

/// All that is revoked is forgotten within hours, refresh tokens count for weeks.
async fn what_has_ended_stays_so_when_nobody_knows_it_any_more(kit: Kit) {
    let (first, second) = (kit.dev("ada").await, kit.dev("ada").await);
    let theirs = kit.dev("bob").await;
    // As `before` has it: nobody clears up.
    let until_s = kit.identity.sign_out_before(first.user, NOW_S + 1, false, NOW_S).await;
    assert_eq!(until_s, Ok(NOW_S + 1 + 2 * 3_600));
    let (later, later_s) = (kit.dev("ada").await, NOW_S + 3 * 3_600);
    kit.forget(later_s);
    assert!(kit.revoked.0.lock().unwrap().is_empty());
    assert_eq!(kit.identity.sessions(first.user, later_s).await.unwrap().len(), 1);
    for dead in [&first, &second] {
        let refused = kit.identity.refresh(&dead.refresh.text(), &at(later_s)).await.err();
        assert_eq!(refused, Some(IdentityError::SignedOut));
    }
    for good in [&later, &theirs] {
        assert!(kit.identity.refresh(&good.refresh.text(), &at(later_s)).await.is_ok());
    }
    // An earlier time takes nothing back.
    kit.identity.sign_out_before(first.user, NOW_S, false, later_s).await.unwrap();
    assert_eq!(kit.identity.sessions(first.user, later_s).await.unwrap().len(), 1);
}

async fn sign_ins_are_bounded_and_end(kit: Kit) {
    let mut all = Vec::new();
    for nth in 0..6 {
        let asker = at(NOW_S + nth);
        all.push(kit.identity.sign_in_for_development("ada", &asker).await.unwrap());
    }
    let listed = kit.identity.sessions(all[0].user, NOW_S + 6).await.unwrap();
    let last: Vec<Uuid> = all.iter().rev().take(4).map(|one| one.session).collect();
    assert_eq!(listed.iter().map(|one| one.id).collect::<Vec<_>>(), last);
    assert!(kit.identity.refresh(&all[0].refresh.text(), &at(NOW_S + 6)).await.is_err());
    // What has ended is swept.
    let swept = kit.records.sweep(NOW_S + 91 * 86_400, SweepPlace::default(), 1_000).await.unwrap();
    assert_eq!(swept.records, 4);
}

async fn made_up_refresh_tokens_lock_nobody_out(kit: Kit) {
    let made_up = |nth: u8| {
        use base64ct::{Base64UrlUnpadded, Encoding};
        Base64UrlUnpadded::encode_string(&[nth; 48])
    };
    for nth in 0..60 {
        let refused = kit.identity.refresh(&made_up(nth), &at(NOW_S)).await.err();
        assert_eq!(refused, Some(IdentityError::Refresh(RefreshError::Malformed)));
    }
    let tokens = kit.dev("ada").await;
    assert!(kit.identity.refresh(&tokens.refresh.text(), &at(NOW_S)).await.is_ok());
    let refused = kit.identity.refresh("nonsense", &at(NOW_S)).await.err().unwrap();
    assert_eq!(refused.code(), Code::TokenInvalid);
}
