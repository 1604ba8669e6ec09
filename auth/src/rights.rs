//! What a user may do in a brane.

use avvy_model::{BraneId, Role, UserId, Visibility};

use crate::Claims;

/// As what the bearer may join this brane; `None`: not at all, and then the
/// brane does not exist for them.
///
/// The owner is [`Role::Owner`], others are [`Role::Builder`] in public and
/// unlisted branes, and in a private one only if the token names it; the
/// token's own role bounds all of them.
pub fn role_for(
    claims: &Claims,
    brane: BraneId,
    owner: UserId,
    visibility: Visibility,
) -> Option<Role> {
    let theirs = if claims.user == owner {
        Role::Owner
    } else {
        match visibility {
            Visibility::Public | Visibility::Unlisted => Role::Builder,
            Visibility::Private if claims.branes.contains(&brane) => Role::Builder,
            Visibility::Private => return None,
        }
    };
    Some(theirs.min(claims.role))
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const OWNER: UserId = UserId::new(Uuid::from_u128(1));
    const OTHER: UserId = UserId::new(Uuid::from_u128(2));
    const BRANE: BraneId = BraneId::new(Uuid::from_u128(3));

    fn claims(user: UserId, role: Role, branes: &[BraneId]) -> Claims {
        let token = Uuid::from_u128(4);
        Claims { user, role, name: None, branes: branes.to_vec(), token, issued_s: 0, expires_s: 1 }
    }

    #[test]
    fn decides_by_user_token_and_visibility() {
        use Role::{Builder, Owner, Visitor};
        use Visibility::{Private, Public, Unlisted};
        let elsewhere = BraneId::new(Uuid::from_u128(9));
        let cases = [
            (OWNER, Owner, vec![], Private, Some(Owner)),
            (OWNER, Owner, vec![], Public, Some(Owner)),
            (OWNER, Builder, vec![], Private, Some(Builder)),
            (OWNER, Visitor, vec![], Public, Some(Visitor)),
            (OTHER, Owner, vec![], Public, Some(Builder)),
            (OTHER, Builder, vec![], Unlisted, Some(Builder)),
            (OTHER, Visitor, vec![], Public, Some(Visitor)),
            (OTHER, Owner, vec![], Private, None),
            (OTHER, Owner, vec![elsewhere], Private, None),
            (OTHER, Owner, vec![elsewhere, BRANE], Private, Some(Builder)),
            (OTHER, Visitor, vec![BRANE], Private, Some(Visitor)),
        ];
        for (user, role, branes, visibility, expected) in cases {
            let decided = role_for(&claims(user, role, &branes), BRANE, OWNER, visibility);
            assert_eq!(decided, expected, "{user} {role:?} {branes:?} {visibility:?}");
        }
    }
}
