//! `rights`: what it takes to decide whether somebody may make an edit: whether
//! the session's token counts still, and what it and the brane allow, where the
//! brane's table of rights is full. An edit that is refused is nothing but that
//! decision, so its price is the most that the decision can cost.

use std::hint::black_box;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Result, anyhow, ensure};
use avvy_auth::Validity;
use avvy_brane::World;
use avvy_model::{
    BraneId, Cuboid, Edit, GrantId, Handle, Kind, MovePatch, ObjectId, Operation, Parts, Principal,
    Props, Reach, Role, Ruling, Seq, Target, Transform, UserId, Verb, Verbs, WorldLimits,
};

use super::report::round;
use super::room::median;
use super::{Figure, Report, Setup};
use crate::draw::Draw;

/// What the table of rights holds, as much as it may by default.
const USERS: usize = 10_000;
const GRANTS: usize = 10_000;
const GRANTS_PER_USER: usize = 64;

/// Nanoseconds that a decision may take.
const GOAL_NS: f64 = 1_000.0;

const NOW_MS: u64 = 1_760_000_000_000;

/// Takes the figures.
pub(super) fn run(setup: &Setup) -> Result<Report> {
    let mut report = Report::new("rights", setup);
    let mut bench = Bench::new()?;
    let by_role = bench.refusal_ns(bench.visitor)?;
    let by_grants = bench.refusal_ns(bench.grantee)?;
    report.show(Figure::new("deciding by role, ns", by_role).at_most(GOAL_NS));
    report.show(Figure::new("deciding by 64 grants as well, ns", by_grants).at_most(GOAL_NS));
    report.raw("ns_per_edit", round(by_role));
    report.raw("ns_per_edit_with_64_grants", round(by_grants));
    report.raw("standings", USERS as u64);
    report.raw("grants", GRANTS as u64);
    Ok(report)
}

struct Bench {
    world: World,
    /// Of the session's token.
    validity: Validity,
    /// Has a role that allows nothing.
    visitor: UserId,
    /// The same, and grants that all are about somewhere else.
    grantee: UserId,
}

impl Bench {
    fn new() -> Result<Self> {
        let mut draw = Draw::new(3);
        let owner = UserId::new(draw.uuid());
        let users: Vec<_> = (0..USERS).map(|_| UserId::new(draw.uuid())).collect();
        let world = World::new(BraneId::new(draw.uuid()), owner);
        let validity = Validity::new(30);
        validity.renew(unix_s()? + 900);
        let mut bench = Self { world, validity, visitor: users[USERS - 1], grantee: users[0] };
        let create = Operation::Create {
            id: ObjectId::new(draw.uuid()),
            parent: Target::Handle(Handle::ROOT),
            kind: Kind::Block,
            transform: Transform::IDENTITY,
            props: Props::default(),
        };
        bench.apply(owner, &Edit::One(create))?;
        for user in &users {
            let role = Some(Role::Visitor.into());
            bench.apply(owner, &Edit::Rule(Box::new(Ruling::Appoint { user: *user, role })))?;
        }
        let elsewhere = Some(Cuboid { min: [1_000; 3], max: [2_000; 3] });
        for n in 0..GRANTS {
            let grant = Ruling::Grant {
                id: GrantId::new(draw.uuid()),
                to: users[n / GRANTS_PER_USER],
                verbs: Verbs::of(&[Verb::Move, Verb::Edit]),
                reach: Reach { region: elsewhere, ..Reach::default() },
                until_ms: Some(NOW_MS + 1),
            };
            bench.apply(owner, &Edit::Rule(Box::new(grant)))?;
        }
        Ok(bench)
    }

    fn apply(&mut self, user: UserId, edit: &Edit) -> Result<()> {
        let who = Principal { user, ceiling: Role::Owner, invited: true };
        let seq = self.world.seq().next();
        let applied = self.world.apply(seq, NOW_MS, &who, edit, &WorldLimits::default());
        applied.map(drop).map_err(|refusal| anyhow!("refused: {}", refusal.code))
    }

    /// Nanoseconds of refusing this user a move, as the session and the core do it.
    fn refusal_ns(&mut self, user: UserId) -> Result<f64> {
        const BATCH: usize = 10_000;
        let who = Principal { user, ceiling: Role::Owner, invited: true };
        let patch = MovePatch::new(Parts::POSITION, Transform::IDENTITY);
        let edit = Edit::One(Operation::Move { target: Target::Handle(Handle(1)), patch });
        let (seq, limits) = (Seq(self.world.seq().0 + 1), WorldLimits::default());
        let mut batches = Vec::new();
        for _ in 0..20 {
            let (started, mut refused) = (Instant::now(), 0);
            for _ in 0..BATCH {
                ensure!(!black_box(&self.validity).is_over(unix_s()?), "the token counts");
                let edit = black_box(&edit);
                refused += usize::from(self.world.apply(seq, NOW_MS, &who, edit, &limits).is_err());
            }
            batches.push(started.elapsed().as_nanos() as f64 / BATCH as f64);
            ensure!(refused == BATCH, "somebody may who must not");
        }
        Ok(median(batches))
    }
}

fn unix_s() -> Result<u64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())
}
