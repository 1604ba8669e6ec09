//! Users as records.

use avvy_identity::{IdentityError, UserChange};

use super::{Kit, NOW_S, user};

pub async fn run(kit: &Kit) {
    let identity = &kit.identity;
    assert_eq!(identity.user(user(1), NOW_S).await, Ok(None));
    let nobody = identity.update_user(user(1), UserChange::default(), None, NOW_S).await;
    assert_eq!(nobody, Err(IdentityError::UnknownUser));
    let ada = identity.ensure_user(user(1), "Ada\n", NOW_S).await.unwrap();
    assert_eq!((ada.name.as_str(), ada.created_s), ("Ada", NOW_S));
    // Who is there stays as they are.
    assert_eq!(identity.ensure_user(user(1), "Eve", NOW_S + 1).await, Ok(ada.clone()));
    assert_eq!(identity.user(user(1), NOW_S).await, Ok(Some(ada.clone())));

    let about = UserChange { about: Some("Two\nlines.".to_owned()), ..UserChange::default() };
    let changed = identity.update_user(user(1), about.clone(), Some(ada.version), NOW_S).await;
    let changed = changed.unwrap();
    assert_eq!((changed.name.as_str(), changed.about.as_str()), ("Ada", "Two\nlines."));
    assert!(changed.version > ada.version);
    let stale = identity.update_user(user(1), about, Some(ada.version), NOW_S).await;
    assert_eq!(stale, Err(IdentityError::Conflict { found: changed.version }));
    let bad = UserChange { name: Some(" ".to_owned()), ..UserChange::default() };
    let bad = identity.update_user(user(1), bad, None, NOW_S).await;
    assert!(matches!(bad, Err(IdentityError::Malformed(_))), "{bad:?}");

    // Two at once without a version: both count, one after the other.
    let name = UserChange { name: Some("Countess".to_owned()), ..UserChange::default() };
    let empty = UserChange { about: Some(String::new()), ..UserChange::default() };
    let (one, other) = tokio::join!(
        identity.update_user(user(1), name, None, NOW_S),
        identity.update_user(user(1), empty, None, NOW_S),
    );
    assert!(one.is_ok() && other.is_ok(), "{one:?} {other:?}");
    let now = identity.user(user(1), NOW_S).await.unwrap().unwrap();
    assert_eq!((now.name.as_str(), now.about.as_str()), ("Countess", ""));
    assert_eq!(now.version, changed.version + 2);
}
