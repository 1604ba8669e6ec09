//! Wallets.

use avvy_auth::Claims;
use avvy_auth::rate::RetryAfterMs;
use avvy_auth::wallet::{ProofError, WalletError};
use avvy_identity::{Asker, IdentityError, Signed, Wanted};
use avvy_model::Code;

use super::{Case, Kit, NOW_S, Wallet, at, from};

pub const CASES: &[Case] = &[
    |kit| Box::pin(a_wallet_signs_in_the_same_user_each_time(kit)),
    |kit| Box::pin(an_answer_counts_once_and_in_time(kit)),
    |kit| Box::pin(an_answer_is_for_one_site_purpose_and_user(kit)),
    |kit| Box::pin(wallets_come_and_go_with_proof(kit)),
    |kit| Box::pin(a_wallet_is_one_users(kit)),
    |kit| Box::pin(the_last_way_in_stays(kit)),
    |kit| Box::pin(a_stolen_token_attaches_no_wallet(kit)),
    |kit| Box::pin(a_new_wallet_takes_no_older_one_away(kit)),
    |kit| Box::pin(failures_lock_out_an_account_and_an_address(kit)),
    |kit| Box::pin(what_others_have_of_a_wallet_keeps_it_out_nowhere(kit)),
    |kit| Box::pin(too_many_do_not_come_from_one_address_for_the_first_time(kit)),
    |kit| Box::pin(who_has_to_wait_for_a_place_sends_the_same_again(kit)),
    |kit| Box::pin(whether_a_wallet_has_a_user_is_not_for_others(kit)),
];

fn proof<T: std::fmt::Debug>(outcome: Result<T, IdentityError>) -> ProofError {
    match outcome {
        Err(IdentityError::Proof(error)) => error,
        other => panic!("{other:?}"),
    }
}

async fn a_wallet_signs_in_the_same_user_each_time(kit: Kit) {
    let wallet = Wallet::new(1);
    let first = kit.by_wallet(&wallet).await.unwrap();
    assert!(first.is_new);
    let again = kit.by_wallet(&wallet).await.unwrap();
    assert_eq!((again.user, again.is_new), (first.user, false));
    assert_ne!(kit.by_wallet(&Wallet::new(2)).await.unwrap().user, first.user);
    assert_eq!(kit.identity.wallets(first.user, NOW_S).await, Ok(vec![wallet.address]));
    let listed = kit.identity.sessions(first.user, NOW_S).await.unwrap();
    assert_eq!(listed[0].by, wallet.address.to_string());
}

async fn an_answer_counts_once_and_in_time(kit: Kit) {
    let wallet = Wallet::new(1);
    let signed = kit.ask(&wallet, Wanted::SignIn).await;
    let (one, other) = (kit.identity.clone(), kit.other_node());
    // On two nodes at once: one of them has it.
    let asker = at(NOW_S);
    let (left, right) = tokio::join!(
        one.sign_in_by_wallet(&signed, &asker),
        other.sign_in_by_wallet(&signed, &asker)
    );
    assert!(left.is_ok() != right.is_ok());
    let again = kit.identity.sign_in_by_wallet(&signed, &asker).await;
    assert_eq!(proof(again.map(|_| ())), ProofError::UnknownNonce);
    let late = kit.ask(&wallet, Wanted::SignIn).await;
    let late = kit.identity.sign_in_by_wallet(&late, &at(NOW_S + 301)).await;
    assert_eq!(proof(late.map(|_| ())), ProofError::UnknownNonce);
}

async fn an_answer_is_for_one_site_purpose_and_user(kit: Kit) {
    let wallet = Wallet::new(1);
    let (ada_in, bob_in) = (kit.of(&kit.dev("ada").await), kit.of(&kit.dev("bob").await));
    let ada = ada_in.user;
    let ask = async |wanted| {
        let asked = kit.identity.challenge(wanted, wallet.address, None, NOW_S).await.unwrap();
        asked.message
    };
    let sign_in = async |signed: &Signed| {
        proof(kit.identity.sign_in_by_wallet(signed, &from(2, NOW_S)).await.map(|_| ()))
    };
    // The phisher's site asks for the user's signature of our nonce.
    let message = ask(Wanted::SignIn).await;
    let foreign = message.replace("example.org", "example.com");
    assert_eq!(sign_in(&wallet.sign(&foreign)).await, ProofError::WrongSite);
    let message = ask(Wanted::SignIn).await;
    let chain = message.replace("Chain ID: 1\n", "Chain ID: 5\n");
    assert_eq!(sign_in(&wallet.sign(&chain)).await, ProofError::WrongChain);
    // Another account's signature under a message that names this one.
    let message = ask(Wanted::SignIn).await;
    assert_eq!(sign_in(&Wallet::new(2).sign(&message)).await, ProofError::WrongSigner);
    // What was asked for one thing is no answer to another.
    let message = ask(Wanted::Attach(ada)).await;
    assert_eq!(sign_in(&wallet.sign(&message)).await, ProofError::WrongPurpose);
    let signed = kit.ask(&wallet, Wanted::Attach(ada)).await;
    let stolen = kit.identity.attach_wallet(&bob_in, &signed, &from(3, NOW_S)).await;
    assert_eq!(proof(stolen), ProofError::WrongPurpose);
    let signed = kit.ask(&wallet, Wanted::SignIn).await;
    let attached = kit.identity.attach_wallet(&ada_in, &signed, &from(3, NOW_S)).await;
    assert_eq!(proof(attached), ProofError::WrongPurpose);
    let chain = kit.identity.challenge(Wanted::SignIn, wallet.address, Some(5), NOW_S).await;
    assert_eq!(chain.unwrap_err().code(), Code::Malformed);
    assert!(kit.identity.challenge(Wanted::SignIn, wallet.address, Some(10), NOW_S).await.is_ok());
    let closed = Kit::with(kit.records.clone(), |options| options.site = None);
    let none = closed.identity.challenge(Wanted::SignIn, wallet.address, None, NOW_S).await;
    assert_eq!(none, Err(IdentityError::NotOffered));
}

async fn wallets_come_and_go_with_proof(kit: Kit) {
    let (first, second) = (Wallet::new(1), Wallet::new(2));
    let claims = kit.of(&kit.by_wallet(&first).await.unwrap());
    let user = claims.user;
    let signed = kit.ask(&second, Wanted::Attach(user)).await;
    let wallets = kit.identity.attach_wallet(&claims, &signed, &at(NOW_S)).await.unwrap();
    assert_eq!(wallets.len(), 2);
    let by_second = kit.by_wallet(&second).await.unwrap();
    assert_eq!(by_second.user, user);
    // The wallet that goes need not sign; one that is not the user's may not.
    let wanted = Wanted::Detach(user, second.address);
    let stranger = kit.ask(&Wallet::new(3), wanted).await;
    let refused = kit.identity.detach_wallet(user, second.address, &stranger, &at(NOW_S)).await;
    assert_eq!(proof(refused), ProofError::WrongSigner);
    let signed = kit.ask(&first, wanted).await;
    let other = kit.identity.detach_wallet(user, first.address, &signed, &at(NOW_S)).await;
    assert_eq!(proof(other), ProofError::WrongPurpose);
    let signed = kit.ask(&first, wanted).await;
    let left = kit.identity.detach_wallet(user, second.address, &signed, &at(NOW_S)).await;
    assert_eq!(left, Ok(vec![first.address]));
    // What it began has ended, and it begins somebody else.
    assert_eq!(kit.claims(&by_second.access, NOW_S).err(), Some(None));
    assert!(kit.identity.refresh(&by_second.refresh.text(), &at(NOW_S)).await.is_err());
    assert_ne!(kit.by_wallet(&second).await.unwrap().user, user);
    let signed = kit.ask(&first, wanted).await;
    let gone = kit.identity.detach_wallet(user, second.address, &signed, &at(NOW_S)).await;
    assert_eq!(gone, Err(IdentityError::Wallet(WalletError::NotAttached)));
}

async fn a_wallet_is_one_users(kit: Kit) {
    let wallet = Wallet::new(1);
    let owner = kit.of(&kit.by_wallet(&wallet).await.unwrap());
    let (ada, bob) = (kit.of(&kit.dev("ada").await), kit.of(&kit.dev("bob").await));
    let attach = async |claims: &Claims| {
        let signed = kit.ask(&wallet, Wanted::Attach(claims.user)).await;
        kit.identity.attach_wallet(claims, &signed, &at(NOW_S)).await
    };
    assert_eq!(attach(&ada).await, Err(IdentityError::WayTaken));
    assert_eq!(attach(&owner).await, Err(IdentityError::Wallet(WalletError::Attached)));
    // Two who want the same wallet at once: one has it.
    let new = Wallet::new(2);
    let ask = async |claims: &Claims| kit.ask(&new, Wanted::Attach(claims.user)).await;
    let (left, right) = (ask(&ada).await, ask(&bob).await);
    let asker = at(NOW_S);
    let (left, right) = tokio::join!(
        kit.identity.attach_wallet(&ada, &left, &asker),
        kit.identity.attach_wallet(&bob, &right, &asker)
    );
    assert!(left.is_ok() != right.is_ok(), "{left:?} {right:?}");
    let holder = if left.is_ok() { ada.user } else { bob.user };
    assert_eq!(kit.by_wallet(&new).await.unwrap().user, holder);
}

async fn the_last_way_in_stays(kit: Kit) {
    let (first, second) = (Wallet::new(1), Wallet::new(2));
    let claims = kit.of(&kit.by_wallet(&first).await.unwrap());
    let user = claims.user;
    let detach = async |wallet: &Wallet, by: &Wallet| {
        let signed = kit.ask(by, Wanted::Detach(user, wallet.address)).await;
        kit.identity.detach_wallet(user, wallet.address, &signed, &at(NOW_S)).await
    };
    let only = Err(IdentityError::Wallet(WalletError::OnlyWay));
    assert_eq!(detach(&first, &first).await, only);
    let signed = kit.ask(&second, Wanted::Attach(user)).await;
    kit.identity.attach_wallet(&claims, &signed, &at(NOW_S)).await.unwrap();
    // Both at once: one of them stays.
    let (left, right) = tokio::join!(detach(&first, &first), detach(&second, &second));
    assert!(left.is_ok() != right.is_ok(), "{left:?} {right:?}");
    assert_eq!(kit.identity.wallets(user, NOW_S).await.unwrap().len(), 1);
    // Whoever has another way can give the wallet up.
    let claims = kit.of(&kit.dev("ada").await);
    let ada = claims.user;
    let third = Wallet::new(3);
    let signed = kit.ask(&third, Wanted::Attach(ada)).await;
    kit.identity.attach_wallet(&claims, &signed, &at(NOW_S)).await.unwrap();
    let signed = kit.ask(&third, Wanted::Detach(ada, third.address)).await;
    let left = kit.identity.detach_wallet(ada, third.address, &signed, &at(NOW_S)).await;
    assert_eq!(left, Ok(vec![]));
}

async fn attach(
    kit: &Kit,
    claims: &Claims,
    wallet: &Wallet,
    now_s: u64,
) -> Result<usize, IdentityError> {
    let wanted = Wanted::Attach(claims.user);
    let asked = kit.identity.challenge(wanted, wallet.address, None, now_s).await.unwrap();
    let signed = wallet.sign(&asked.message);
    let all = kit.identity.attach_wallet(claims, &signed, &at(now_s)).await?;
    Ok(all.len())
}

async fn a_stolen_token_attaches_no_wallet(kit: Kit) {
    let tokens = kit.by_wallet(&Wallet::new(1)).await.unwrap();
    let (claims, thief, late_s) = (kit.of(&tokens), Wallet::new(2), NOW_S + 301);
    let refused = attach(&kit, &claims, &thief, late_s).await;
    assert_eq!(refused, Err(IdentityError::NotJustNow));
    assert_eq!(refused.unwrap_err().code(), Code::Forbidden);
    let refreshed = kit.identity.refresh(&tokens.refresh.text(), &at(late_s)).await.unwrap();
    let refreshed = kit.claims(&refreshed.access, late_s).unwrap();
    let none = Claims { session: None, ..claims.clone() };
    for (claims, now_s) in [(&refreshed, late_s), (&none, NOW_S)] {
        let refused = attach(&kit, claims, &thief, now_s).await;
        assert_eq!(refused, Err(IdentityError::NotJustNow), "no sign-in of just now");
    }
    assert_eq!(kit.identity.wallets(claims.user, NOW_S).await.unwrap().len(), 1);
    assert_eq!(attach(&kit, &claims, &thief, NOW_S + 300).await, Ok(2));
}

async fn a_new_wallet_takes_no_older_one_away(kit: Kit) {
    const DAY_S: u64 = 86_400;
    let [owner, thief, newer] = [1, 2, 3].map(Wallet::new);
    let claims = kit.of(&kit.by_wallet(&owner).await.unwrap());
    let detach = async |wallet: &Wallet, by: &Wallet, now_s| {
        let wanted = Wanted::Detach(claims.user, wallet.address);
        let asked = kit.identity.challenge(wanted, by.address, None, now_s).await.unwrap();
        let (signed, asker) = (by.sign(&asked.message), at(now_s));
        let left = kit.identity.detach_wallet(claims.user, wallet.address, &signed, &asker);
        Ok(left.await?.len())
    };
    assert_eq!(attach(&kit, &claims, &thief, NOW_S + 10).await, Ok(2));
    assert_eq!(detach(&owner, &thief, NOW_S + 11).await, Err(IdentityError::TooNew));
    // Nor by what the user signs in with, which would leave it alone.
    assert_eq!(detach(&owner, &owner, NOW_S + 11).await, Err(IdentityError::TooNew));
    assert_eq!(detach(&thief, &owner, NOW_S + 12).await, Ok(1), "the owner can");
    // It is new each time that it comes, and goes when it wants to.
    assert_eq!(attach(&kit, &claims, &thief, NOW_S + 20).await, Ok(2));
    assert_eq!(attach(&kit, &claims, &newer, NOW_S + 30).await, Ok(3));
    // Also where others stay.
    assert_eq!(detach(&thief, &newer, NOW_S + 31).await, Err(IdentityError::TooNew));
    assert_eq!(detach(&newer, &thief, NOW_S + 31).await, Ok(2), "what is newer still");
    let refused = detach(&owner, &thief, NOW_S + 20 + DAY_S - 1).await;
    assert_eq!(refused, Err(IdentityError::TooNew));
    assert_eq!(refused.unwrap_err().code(), Code::Forbidden);
    assert_eq!(attach(&kit, &claims, &newer, NOW_S + 40).await, Ok(3));
    assert_eq!(detach(&newer, &newer, NOW_S + 41).await, Ok(2));
    let kept = kit.identity.detach_wallet_just_now(&claims, owner.address, NOW_S + 42).await;
    assert_eq!(kept, Err(IdentityError::TooNew), "the token of the moment alone");
    // Whoever has lost a wallet takes it away by the next one, a day later.
    assert_eq!(detach(&owner, &thief, NOW_S + 20 + DAY_S).await, Ok(1));
}

async fn failures_lock_out_an_account_and_an_address(kit: Kit) {
    let (wallet, thief) = (Wallet::new(1), Wallet::new(2));
    kit.by_wallet(&wallet).await.unwrap();
    let try_once = async |nth| {
        let asked = kit.identity.challenge(Wanted::SignIn, wallet.address, None, NOW_S).await;
        let forged = thief.sign(&asked.unwrap().message);
        kit.identity.sign_in_by_wallet(&forged, &from(nth, NOW_S)).await.err().unwrap()
    };
    // What others try in its name keeps no wallet out.
    for nth in 10..60 {
        assert_eq!(try_once(nth).await, IdentityError::Proof(ProofError::WrongSigner));
    }
    kit.by_wallet(&wallet).await.unwrap();
    // What it has signed itself, of what it was asked here just now.
    for nth in 10..21 {
        let asked = kit.identity.challenge(Wanted::SignIn, wallet.address, None, NOW_S).await;
        let chain = asked.unwrap().message.replace("Chain ID: 1\n", "Chain ID: 5\n");
        let refused = kit.identity.sign_in_by_wallet(&wallet.sign(&chain), &from(nth, NOW_S)).await;
        assert_eq!(refused.err(), Some(IdentityError::Proof(ProofError::WrongChain)));
    }
    let locked = kit.by_wallet(&wallet).await.err().unwrap();
    assert_eq!(locked.code(), Code::RateLimited);
    let after = locked.retry_after().unwrap();
    let signed = kit.ask(&wallet, Wanted::SignIn).await;
    let later = NOW_S + after.0.div_ceil(1_000);
    assert!(kit.identity.sign_in_by_wallet(&signed, &at(later)).await.is_ok());
    // One address that tries many accounts.
    let mut locked = false;
    for nth in 50..100 {
        let wallet = Wallet::new(nth);
        let asked = kit.identity.challenge(Wanted::SignIn, wallet.address, None, NOW_S).await;
        let forged = thief.sign(&asked.unwrap().message);
        let refused = kit.identity.sign_in_by_wallet(&forged, &from(99, NOW_S)).await;
        locked |= matches!(refused.err(), Some(IdentityError::LockedOut(_)));
    }
    assert!(locked);
    assert!(kit.by_wallet(&Wallet::new(50)).await.is_ok(), "elsewhere it is let in");
}

/// A signature that was used, or is for another site, is in others' hands.
async fn what_others_have_of_a_wallet_keeps_it_out_nowhere(kit: Kit) {
    let wallet = Wallet::new(1);
    let used = kit.ask(&wallet, Wanted::SignIn).await;
    kit.identity.sign_in_by_wallet(&used, &at(NOW_S)).await.unwrap();
    let foreign = async |wanted| {
        let asked = kit.identity.challenge(wanted, wallet.address, None, NOW_S).await.unwrap();
        wallet.sign(&asked.message.replace("example.org", "evil.example"))
    };
    let user = kit.by_wallet(&wallet).await.unwrap().user;
    for nth in 10..40 {
        for (signed, error) in [
            (used.clone(), ProofError::UnknownNonce),
            (foreign(Wanted::SignIn).await, ProofError::WrongSite),
            (foreign(Wanted::Attach(user)).await, ProofError::WrongPurpose),
        ] {
            let refused = kit.identity.sign_in_by_wallet(&signed, &from(nth, NOW_S)).await;
            assert_eq!(proof(refused.map(|_| ())), error);
        }
    }
    assert!(kit.by_wallet(&wallet).await.is_ok());
    // For the address counts what is wrong, not what was good once.
    let from_here = async |signed: &Signed| {
        kit.identity.sign_in_by_wallet(signed, &from(9, NOW_S)).await.err().unwrap()
    };
    for _ in 0..60 {
        assert_eq!(from_here(&used).await, ProofError::UnknownNonce.into());
    }
    let mut locked = false;
    for _ in 0..60 {
        let refused = from_here(&foreign(Wanted::SignIn).await).await;
        locked |= matches!(refused, IdentityError::LockedOut(_));
    }
    assert!(locked);
}

async fn who_has_to_wait_for_a_place_sends_the_same_again(kit: Kit) {
    let kit = kit.with_newcomers(1);
    kit.by_wallet(&Wallet::new(1)).await.unwrap();
    let signed = kit.ask(&Wallet::new(2), Wanted::SignIn).await;
    for _ in 0..60 {
        let refused = kit.identity.sign_in_by_wallet(&signed, &at(NOW_S)).await.err();
        assert_eq!(refused, Some(IdentityError::TooManyNew(RetryAfterMs(1_000))));
    }
    let tokens = kit.identity.sign_in_by_wallet(&signed, &at(NOW_S + 1)).await.unwrap();
    assert!(tokens.is_new);
    assert!(kit.by_wallet(&Wallet::new(1)).await.is_ok(), "nor is who was here before held up");
}

/// Also where there is no place for a newcomer, which who was here before is not
/// told.
async fn whether_a_wallet_has_a_user_is_not_for_others(kit: Kit) {
    let kit = kit.with_newcomers(1);
    let (known, unknown, thief) = (Wallet::new(1), Wallet::new(2), Wallet::new(3));
    kit.by_wallet(&known).await.unwrap();
    for wallet in [known, unknown] {
        let asked = kit.identity.challenge(Wanted::SignIn, wallet.address, None, NOW_S).await;
        let forged = thief.sign(&asked.unwrap().message);
        let refused = kit.identity.sign_in_by_wallet(&forged, &at(NOW_S)).await;
        assert_eq!(proof(refused.map(|_| ())), ProofError::WrongSigner);
    }
}

async fn too_many_do_not_come_from_one_address_for_the_first_time(kit: Kit) {
    let kit = kit.with_newcomers(3);
    let every_ms = 1_000;
    let come = async |nth: u8, at: &Asker| {
        let signed = kit.ask(&Wallet::new(nth), Wanted::SignIn).await;
        kit.identity.sign_in_by_wallet(&signed, at).await.map(|tokens| tokens.is_new)
    };
    let here = from(1, NOW_S);
    for nth in 1..4 {
        assert_eq!(come(nth, &here).await, Ok(true), "{nth}");
    }
    let refused = come(5, &here).await.err().unwrap();
    assert_eq!(refused, IdentityError::TooManyNew(RetryAfterMs(every_ms)));
    assert_eq!(
        (refused.code(), refused.retry_after()),
        (Code::RateLimited, Some(RetryAfterMs(every_ms)))
    );
    // Who has been here before comes in, and others come from elsewhere.
    assert_eq!(come(1, &here).await, Ok(false));
    assert_eq!(come(6, &from(2, NOW_S)).await, Ok(true));
    // In the long run they come one by one, and the burst returns after a rest.
    let later = |times: u64| Asker { now_ms: here.now_ms + times * every_ms, ..here.clone() };
    assert_eq!(come(5, &later(1)).await, Ok(true));
    assert!(come(7, &later(1)).await.is_err());
    for nth in 7..10 {
        assert_eq!(come(nth, &later(9)).await, Ok(true), "{nth}");
    }
}
