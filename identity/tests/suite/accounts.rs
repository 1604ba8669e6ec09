//! Accounts elsewhere that come to a user and go.

use avvy_auth::Claims;
use avvy_auth::rate::RetryAfterMs;
use avvy_auth::wallet::WalletError;
use avvy_identity::{IdentityError, OidcError, Tokens, Wanted};
use avvy_model::Code;

use super::provider::{ISSUER, Provider, VERIFIER, by_account, ticket};
use super::{Case, Kit, NOW_S, Wallet, at};

pub const CASES: &[Case] = &[
    |kit| Box::pin(accounts_come_and_go(kit)),
    |kit| Box::pin(an_account_is_one_users(kit)),
    |kit| Box::pin(the_last_way_in_stays_and_a_stolen_token_takes_none(kit)),
    |kit| Box::pin(a_stolen_token_attaches_none_and_a_new_one_takes_none_away(kit)),
    |kit| Box::pin(who_has_no_wallet_takes_a_thiefs_away(kit)),
    |kit| Box::pin(a_ticket_waits_for_a_place(kit)),
];

/// The same people, with accounts elsewhere.
fn with_provider(kit: &Kit) -> (std::sync::Arc<Provider>, Kit) {
    let provider = Provider::new();
    let oidc = provider.oidc(Provider::options(ISSUER, &[]));
    (provider.clone(), kit.and_accounts(oidc))
}

async fn attach(
    kit: &Kit,
    provider: &Provider,
    by: &Tokens,
    subject: &str,
) -> Result<Vec<String>, IdentityError> {
    let ticket = ticket(&kit.identity, provider, subject).await;
    let all = kit.identity.attach_account(&kit.of(by), &ticket, VERIFIER, NOW_S).await?;
    Ok(all.into_iter().map(|one| one.id).collect())
}

async fn accounts_come_and_go(kit: Kit) {
    let (provider, kit) = with_provider(&kit);
    let wallet = Wallet::new(1);
    let signed_in = kit.by_wallet(&wallet).await.unwrap();
    let user = signed_in.user;
    assert_eq!(kit.identity.accounts(user, NOW_S).await, Ok(vec![]));
    let all = attach(&kit, &provider, &signed_in, "ada").await.unwrap();
    let listed = kit.identity.accounts(user, NOW_S).await.unwrap();
    assert_eq!((listed.len(), &listed[0].id, listed[0].issuer.as_str()), (1, &all[0], ISSUER));
    assert_eq!(listed[0].attached_s, NOW_S);
    assert_eq!(kit.identity.wallets(user, NOW_S).await.unwrap().len(), 1, "the wallet stays");
    let by_account_ = by_account(&kit.identity, &provider, "ada").await.unwrap();
    assert_eq!((by_account_.user, by_account_.is_new), (user, false));
    // It goes, with what it began, and begins somebody else.
    let claims = kit.claims(&signed_in.access, NOW_S).unwrap();
    let none = kit.identity.detach_account(&claims, "0", NOW_S).await;
    assert_eq!(none, Err(WalletError::NotAttached.into()));
    let left = kit.identity.detach_account(&claims, &all[0], NOW_S).await;
    assert_eq!(left, Ok(vec![]));
    assert_eq!(kit.claims(&by_account_.access, NOW_S).err(), Some(None));
    assert!(kit.identity.refresh(&by_account_.refresh.text(), &at(NOW_S)).await.is_err());
    assert!(kit.claims(&signed_in.access, NOW_S).is_ok());
    assert_ne!(by_account(&kit.identity, &provider, "ada").await.unwrap().user, user);
}

async fn an_account_is_one_users(kit: Kit) {
    let (provider, kit) = with_provider(&kit);
    let owner = by_account(&kit.identity, &provider, "ada").await.unwrap();
    let (ada, bob) = (kit.dev("ada").await, kit.dev("bob").await);
    let taken = attach(&kit, &provider, &ada, "ada").await;
    assert_eq!(taken, Err(IdentityError::WayTaken));
    let again = attach(&kit, &provider, &owner, "ada").await;
    assert_eq!(again, Err(WalletError::Attached.into()));
    // Two who want the same one at once: one has it.
    let of_ada = ticket(&kit.identity, &provider, "new").await;
    let of_bob = ticket(&kit.identity, &provider, "new").await;
    let (ada, bob) = (kit.of(&ada), kit.of(&bob));
    let (left, right) = tokio::join!(
        kit.identity.attach_account(&ada, &of_ada, VERIFIER, NOW_S),
        kit.identity.attach_account(&bob, &of_bob, VERIFIER, NOW_S),
    );
    assert!(left.is_ok() != right.is_ok(), "{left:?} {right:?}");
    // A ticket counts once, and for the app that asked for it.
    let ticket = ticket(&kit.identity, &provider, "more").await;
    for verifier in ["another secret", VERIFIER] {
        let refused = kit.identity.attach_account(&ada, &ticket, verifier, NOW_S).await;
        assert_eq!(refused, Err(OidcError::UnknownTicket.into()));
    }
    let carol = kit.dev("carol").await;
    for nth in 0..16 {
        attach(&kit, &provider, &carol, &format!("carol-{nth}")).await.unwrap();
    }
    let many = attach(&kit, &provider, &carol, "carol-16").await;
    assert_eq!(many, Err(WalletError::TooMany.into()));
}

async fn the_last_way_in_stays_and_a_stolen_token_takes_none(kit: Kit) {
    let (provider, kit) = with_provider(&kit);
    let tokens = by_account(&kit.identity, &provider, "ada").await.unwrap();
    let claims = kit.claims(&tokens.access, NOW_S).unwrap();
    let id = kit.identity.accounts(tokens.user, NOW_S).await.unwrap().remove(0).id;
    let last = kit.identity.detach_account(&claims, &id, NOW_S).await;
    assert_eq!(last, Err(WalletError::OnlyWay.into()));
    attach(&kit, &provider, &tokens, "second").await.unwrap();
    // Whoever finds a token has one of a sign-in of before.
    let late_s = NOW_S + 301;
    let late = kit.identity.detach_account(&claims, &id, late_s).await;
    assert_eq!(late, Err(IdentityError::NotJustNow));
    assert_eq!(late.unwrap_err().code(), Code::Forbidden);
    let refreshed = kit.identity.refresh(&tokens.refresh.text(), &at(late_s)).await.unwrap();
    let claims = kit.claims(&refreshed.access, late_s).unwrap();
    let late = kit.identity.detach_account(&claims, &id, late_s).await;
    assert_eq!(late, Err(IdentityError::NotJustNow), "a refresh is no sign-in");
    // Tokens that no sign-in gave, and those of others.
    let none = Claims { session: None, ..claims.clone() };
    assert_eq!(
        kit.identity.detach_account(&none, &id, NOW_S).await,
        Err(IdentityError::NotJustNow)
    );
    let bob = kit.dev("bob").await;
    let bob = kit.claims(&bob.access, NOW_S).unwrap();
    assert_eq!(
        kit.identity.detach_account(&bob, &id, NOW_S).await,
        Err(WalletError::NotAttached.into())
    );
    let fresh = by_account(&kit.identity, &provider, "second").await.unwrap();
    let claims = kit.claims(&fresh.access, NOW_S).unwrap();
    assert_eq!(kit.identity.detach_account(&claims, &id, NOW_S).await.unwrap().len(), 1);
}

async fn a_stolen_token_attaches_none_and_a_new_one_takes_none_away(kit: Kit) {
    let (provider, kit) = with_provider(&kit);
    let tokens = by_account(&kit.identity, &provider, "ada").await.unwrap();
    let id = kit.identity.accounts(tokens.user, NOW_S).await.unwrap().remove(0).id;
    let new = ticket(&kit.identity, &provider, "thief").await;
    let none = Claims { session: None, ..kit.of(&tokens) };
    let refused = kit.identity.attach_account(&none, &new, VERIFIER, NOW_S).await;
    assert_eq!(refused, Err(IdentityError::NotJustNow));
    assert_eq!(refused.unwrap_err().code(), Code::Forbidden);
    // The ticket is still good, for who has signed in just now.
    let claims = kit.of(&tokens);
    let all = kit.identity.attach_account(&claims, &new, VERIFIER, NOW_S + 5).await.unwrap();
    assert_eq!(all.len(), 2);
    let thief = by_account(&kit.identity, &provider, "thief").await.unwrap();
    assert_eq!(thief.user, tokens.user);
    let refused = kit.identity.detach_account(&kit.of(&thief), &id, NOW_S + 9).await;
    assert_eq!(refused, Err(IdentityError::TooNew));
    assert_eq!(refused.unwrap_err().code(), Code::Forbidden);
    let stolen = all.iter().find(|one| one.id != id).unwrap();
    let left = kit.identity.detach_account(&claims, &stolen.id, NOW_S + 9).await.unwrap();
    assert_eq!(left.len(), 1, "the owner can");
}

async fn a_ticket_waits_for_a_place(kit: Kit) {
    let (provider, kit) = with_provider(&kit.with_newcomers(1));
    let signed_in = kit.dev("ada").await;
    let new = ticket(&kit.identity, &provider, "bob").await;
    for _ in 0..60 {
        let refused = kit.identity.redeem_ticket(&new, VERIFIER, &at(NOW_S)).await.err();
        assert_eq!(refused, Some(IdentityError::TooManyNew(RetryAfterMs(1_000))));
    }
    let tokens = kit.identity.redeem_ticket(&new, VERIFIER, &at(NOW_S + 1)).await.unwrap();
    assert!(tokens.is_new);
    // Nobody is locked out who waited for too long, nor who is at the same address.
    for _ in 0..60 {
        let again = kit.identity.redeem_ticket(&new, VERIFIER, &at(NOW_S)).await.err();
        assert_eq!(again, Some(OidcError::UnknownTicket.into()));
    }
    // Whoever is here already attaches one without a place.
    assert_eq!(attach(&kit, &provider, &signed_in, "ada").await.unwrap().len(), 1);
    assert!(!by_account(&kit.identity, &provider, "ada").await.unwrap().is_new);
}

/// A wallet that a thief has attached goes without one of the owner's.
async fn who_has_no_wallet_takes_a_thiefs_away(kit: Kit) {
    let (provider, kit) = with_provider(&kit);
    let tokens = by_account(&kit.identity, &provider, "ada").await.unwrap();
    let (claims, thief) = (kit.of(&tokens), Wallet::new(2));
    let attach = async || {
        let signed = kit.ask(&thief, Wanted::Attach(tokens.user)).await;
        kit.identity.attach_wallet(&claims, &signed, &at(NOW_S + 5)).await
    };
    let detach = async |claims: &Claims, now_s| {
        kit.identity.detach_wallet_just_now(claims, thief.address, now_s).await
    };
    assert_eq!(detach(&claims, NOW_S + 5).await, Err(WalletError::NotAttached.into()));
    assert_eq!(attach().await.unwrap().len(), 1);
    let by_thief = kit.by_wallet(&thief).await.unwrap();
    assert_eq!(by_thief.user, tokens.user);
    let id = kit.identity.accounts(tokens.user, NOW_S).await.unwrap().remove(0).id;
    let taken = kit.identity.detach_account(&kit.of(&by_thief), &id, NOW_S + 6).await;
    assert_eq!(taken, Err(IdentityError::TooNew));
    assert_eq!(detach(&claims, NOW_S + 301).await, Err(IdentityError::NotJustNow));
    assert_eq!(detach(&claims, NOW_S + 7).await, Ok(vec![]));
    assert_eq!(kit.claims(&by_thief.access, NOW_S).err(), Some(None), "with what it began");
    assert!(kit.claims(&tokens.access, NOW_S).is_ok());
}
