//! As whom the bearer of a token comes into a brane.

use avvy_model::{BraneId, Principal, UserId, Visibility};

use crate::Claims;

/// Who asks in this brane: the user, what the token allows at most, and
/// whether they may see the brane without a role in it. That is so for its
/// owner, where it is not private, and where the token names it. What they may
/// do is for the brane's rights to say.
pub fn principal(
    claims: &Claims,
    brane: BraneId,
    owner: UserId,
    visibility: Visibility,
) -> Principal {
    let is_named = claims.branes.contains(&brane);
    let invited = is_invited(claims.user, is_named, owner, visibility);
    Principal { user: claims.user, ceiling: claims.role, invited }
}

/// Whether a user, whose token names the brane or not, may see it without a role
/// in it.
pub fn is_invited(user: UserId, is_named: bool, owner: UserId, visibility: Visibility) -> bool {
    match visibility {
        Visibility::Public | Visibility::Unlisted => true,
        Visibility::Private => user == owner || is_named,
    }
}

#[cfg(test)]
mod tests {
    use avvy_model::Role;
    use uuid::Uuid;

    use super::*;

    const OWNER: UserId = UserId::new(Uuid::from_u128(1));
    const OTHER: UserId = UserId::new(Uuid::from_u128(2));
    const BRANE: BraneId = BraneId::new(Uuid::from_u128(3));

    #[test]
    fn invites_by_owner_token_and_visibility() {
        use Visibility::{Private, Public, Unlisted};
        let elsewhere = BraneId::new(Uuid::from_u128(9));
        let cases = [
            (OWNER, vec![], Private, true),
            (OWNER, vec![], Public, true),
            (OTHER, vec![], Public, true),
            (OTHER, vec![], Unlisted, true),
            (OTHER, vec![], Private, false),
            (OTHER, vec![elsewhere], Private, false),
            (OTHER, vec![elsewhere, BRANE], Private, true),
        ];
        for (user, branes, visibility, invited) in cases {
            for ceiling in Role::ALL {
                let (token, branes) = (Uuid::from_u128(4), branes.clone());
                let (name, session, issued_s, expires_s) = (None, None, 0, 1);
                let claims = Claims {
                    user,
                    role: ceiling,
                    name,
                    branes,
                    token,
                    session,
                    issued_s,
                    expires_s,
                };
                let found = principal(&claims, BRANE, OWNER, visibility);
                assert_eq!(found, Principal { user, ceiling, invited }, "{visibility:?}");
            }
        }
    }
}
