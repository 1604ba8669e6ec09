//! `join`: joining a brane of 100,000 objects that is open: until the first
//! objects are there, and all.

use std::time::Duration;

use anyhow::{Context, Result};
use avvy_model::{Area, BraneId, ClientId, Role};

use super::report::round;
use super::room::{median, options};
use super::{Figure, Report, Setup};
use crate::draw::Draw;
use crate::large;
use crate::load::visitor::Visitor;
use crate::process::Server;

/// Bytes of properties of each object.
const PROPS_BYTES: usize = 200;
/// What is looked at from a corner of the brane, in metres.
const RADIUS_M: u32 = 100;

/// How long a join took.
struct Joined {
    first: Duration,
    all: Duration,
    objects: usize,
}

/// Takes the figures.
pub(super) fn run(setup: &Setup) -> Result<Report> {
    let mut report = Report::new("join", setup);
    let options = options(setup, "join", &[]);
    let large = large::write(&options.data, setup.size(100_000, 5_000) as u32, PROPS_BYTES)?;
    let server = Server::start(&options)?;
    let mut draw = setup.draw();
    // Opens the brane, which is not part of it.
    join(&server, &mut draw, large.brane, None)?;
    let area = Area { center: [0; 3], radius: RADIUS_M * 10_000 };
    let (mut whole, mut near) = (Vec::new(), Vec::new());
    for _ in 0..setup.rounds {
        whole.push(join(&server, &mut draw, large.brane, None)?);
        near.push(join(&server, &mut draw, large.brane, Some(area))?);
    }
    server.stop()?;
    let is_whole = |joined: &Joined| joined.objects == large.objects as usize;
    report.expect(whole.iter().all(is_whole), "not all objects came");
    let ms = |joins: &[Joined], part: fn(&Joined) -> Duration| {
        median(joins.iter().map(|joined| part(joined).as_secs_f64() * 1_000.0).collect())
    };
    let first_cells = ms(&near, |joined| joined.first);
    let (first, all) = (ms(&whole, |joined| joined.first), ms(&whole, |joined| joined.all));
    report.show(Figure::new("an area: first objects, ms", first_cells).at_most(250.0));
    report.show(Figure::new("the whole brane: first objects, ms", first).at_most(250.0));
    report.show(Figure::new("the whole brane: all objects, ms", all));
    report.raw("first_cells_ms", round(first_cells));
    report.raw("whole_first_ms", round(first));
    report.raw("complete_ms", round(all));
    report.raw("objects", large.objects);
    report.raw("first_cells_objects", near.first().map_or(0, |joined| joined.objects));
    Ok(report)
}

/// Joins, and reads until the snapshot is whole: of an area that is the first
/// step of its view.
fn join(server: &Server, draw: &mut Draw, brane: BraneId, area: Option<Area>) -> Result<Joined> {
    let token = server.tokens(draw, 1, Role::Builder)?.pop().context("one token")?;
    let mut visitor = Visitor::connect(server.address(), &token)?;
    visitor.join(brane, ClientId::new(draw.uuid()), area)?;
    let (mut part, first) = visitor.part()?;
    let (mut objects, mut all) = (part.objects.len(), first);
    while !part.last {
        (part, all) = visitor.part()?;
        objects += part.objects.len();
    }
    Ok(Joined { first, all, objects })
}
