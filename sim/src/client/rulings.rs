//! What those do who govern: mostly small things to others, for a while.

use avvy_model::{
    BraneId, Code, Cuboid, Edit, PropKey, Reach, Role, RoleName, Ruling, Sanction, UserId,
    ValueLimits, Verb, Verbs,
};

use super::catalogue::draw_prototype;
use super::{Outside, Person};
use crate::rng::Rng;

impl Person {
    /// Now and then, who may rule does.
    pub(super) fn rule(&mut self, outside: &mut Outside<'_>, brane: BraneId) {
        let weight = outside.env.setup.weights.rule;
        if weight == 0 || outside.env.rng.below(1_000) >= weight {
            return;
        }
        let Some(reference) = outside.references.get(&brane) else { return };
        let rights = reference.rights();
        // A few ask who may not, and are refused.
        if !rights.governs(self.user) && outside.env.rng.below(10) > 0 {
            return;
        }
        let many = if outside.env.setup.by_grants { outside.env.rng.range(2, 5) } else { 1 };
        for _ in 0..many {
            let Some(ruling) = self.draw_ruling(outside, brane) else { return };
            self.submit(outside, brane, Edit::Rule(Box::new(ruling)));
        }
    }

    fn draw_ruling(&self, outside: &mut Outside<'_>, brane: BraneId) -> Option<Ruling> {
        let rights = outside.references.get(&brane)?.rights();
        let users: Vec<UserId> = rights.users().collect();
        let grants: Vec<_> = rights.grants().collect();
        let is_open = !rights.of_everybody().is_empty();
        let now_ms = outside.env.unix_ms();
        let (spread, by_grants) = (outside.env.setup.spread, outside.env.setup.by_grants);
        let rng = &mut outside.env.rng;
        let reach = self.draw_reach(rng, brane, spread);
        let user = rng.pick(&users).copied()?;
        let until_ms = Some(now_ms + rng.range(50, 3_000));
        let kind = match rng.below(16) {
            _ if by_grants && is_open => 0,
            2.. if by_grants => 15,
            kind => kind,
        };
        Some(match kind {
            0 if by_grants => Ruling::Everybody { role: Role::Visitor.into() },
            0 => Ruling::Everybody { role: draw_role(rng) },
            1 | 2 => define(rng),
            3..=5 => {
                let role = (rng.below(3) > 0).then(|| draw_role(rng));
                Ruling::Appoint { user, role }
            }
            6 | 7 => Ruling::Ban { user, ban: Some(Sanction { until_ms }) },
            8 => Ruling::Ban { user, ban: None },
            9 => Ruling::Mute { user, mute: Some(Sanction { until_ms }) },
            10 => Ruling::Mute { user, mute: None },
            11 | 12 => match rng.pick(&grants) {
                Some(id) => Ruling::Revoke { id: *id },
                None => Ruling::Everybody { role: Role::Builder.into() },
            },
            _ => Ruling::Grant {
                id: rng.grant_id(),
                to: user,
                verbs: draw_verbs(rng).and(Verbs::OF_OBJECTS),
                reach,
                until_ms: until_ms.filter(|_| rng.below(2) == 0),
            },
        })
    }

    /// Mostly all objects, or those with one thing in common.
    fn draw_reach(&self, rng: &mut Rng, brane: BraneId, spread: u64) -> Reach {
        let mut reach = Reach::default();
        match rng.below(8) {
            0 | 1 => {
                let key = PropKey::new("colour", &ValueLimits::default());
                reach.keys = key.ok().map(|key| [key].into());
            }
            2 => reach.prototype = Some(draw_prototype(rng)),
            3 | 4 => {
                // Half of the brane.
                let far = 40 * spread as i32;
                let (mut min, mut max) = ([-far; 3], [far; 3]);
                let (axis, at) = (2 * rng.below(2) as usize, rng.below(2 * spread) as i32);
                let side = if rng.below(2) == 0 { &mut min } else { &mut max };
                side[axis] = at - spread as i32;
                reach.region = Some(Cuboid { min, max });
            }
            5 => reach.within = Some(self.draw_group(rng, brane)),
            _ => {}
        }
        reach
    }

    /// The brane does not want this person any more, or not yet again.
    pub(super) fn sent_away(&mut self, outside: &mut Outside<'_>, brane: BraneId, code: Code) {
        outside.env.count("somebody is kept out");
        outside.env.check(code == Code::Banned, || format!("{brane} closed: {code}"));
        let ban = outside.references.get(&brane).and_then(|r| r.rights().ban(self.user));
        // What was ruled by then may be lost, or lifted again.
        if ban.is_some() {
            outside.env.count("somebody who is banned is kept out");
        }
        self.wants.remove(&brane);
    }
}

fn draw_role(rng: &mut Rng) -> RoleName {
    let known = match rng.below(8) {
        0 => Role::Visitor,
        1 => Role::Editor,
        2 => Role::Owner,
        3 | 4 => return crew(),
        _ => Role::Builder,
    };
    known.into()
}

fn crew() -> RoleName {
    "crew".parse().unwrap_or(RoleName::Known(Role::Visitor))
}

fn define(rng: &mut Rng) -> Ruling {
    let verbs = (rng.below(4) > 0).then(|| draw_verbs(rng));
    match crew() {
        RoleName::Custom(name) => Ruling::Role { name, verbs },
        RoleName::Known(role) => Ruling::Everybody { role: role.into() },
    }
}

fn draw_verbs(rng: &mut Rng) -> Verbs {
    Verb::ALL.into_iter().filter(|_| rng.below(2) == 0).collect()
}
