//! Where the sessions of a stadium are: each walks across a square field, a
//! straight line at a time, and turns at the edges.

use avvy_model::{Area, Cell, Grid, Transform};

use crate::draw::Draw;

/// Units of position in a metre.
const UNITS: f64 = 10_000.0;

/// A field of people on foot.
pub struct Walk {
    grid: Grid,
    side_m: f64,
    radius_m: f64,
    speed_m_s: f64,
    walkers: Vec<Walker>,
}

struct Walker {
    at: [f64; 2],
    way: [f64; 2],
    moved_us: u64,
    /// The cell in the middle of what it last asked to see.
    looked: Cell,
}

/// What a walker does next.
pub struct Stride {
    /// Where it is now.
    pub position: [i32; 3],
    /// What it asks to see, if it has come to another cell.
    pub look: Option<Area>,
}

impl Walk {
    /// A field of so many metres a side, in which everybody sees `radius_m`.
    pub fn new(draw: &mut Draw, walkers: usize, side_m: f64, radius_m: f64) -> Self {
        let mut walk =
            Self { grid: Grid::default(), side_m, radius_m, speed_m_s: 1.4, walkers: Vec::new() };
        for _ in 0..walkers {
            let at = [draw.fraction() * side_m, draw.fraction() * side_m];
            let angle = draw.fraction() * std::f64::consts::TAU;
            let (sin, cos) = angle.sin_cos();
            let looked = walk.grid.cell(units(at));
            walk.walkers.push(Walker { at, way: [cos, sin], moved_us: 0, looked });
        }
        walk
    }

    /// Where a walker begins.
    pub fn start(&self, walker: usize) -> Transform {
        let mut transform = Transform::IDENTITY;
        transform.position = units(self.walkers[walker].at);
        transform
    }

    /// What it sees at first.
    pub fn area(&self, walker: usize) -> Area {
        let radius = (self.radius_m * UNITS) as u32;
        Area { center: units(self.walkers[walker].at), radius }
    }

    /// Goes on, to where it is at this time.
    pub fn stride(&mut self, walker: usize, now_us: u64) -> Stride {
        let (side_m, speed_m_s, grid) = (self.side_m, self.speed_m_s, self.grid);
        let one = &mut self.walkers[walker];
        let passed_us = if one.moved_us == 0 { 0 } else { now_us - one.moved_us };
        one.moved_us = now_us;
        let metres = speed_m_s * passed_us as f64 / 1e6;
        for (at, way) in one.at.iter_mut().zip(&mut one.way) {
            *at += *way * metres;
            if !(0.0..side_m).contains(at) {
                *at = at.clamp(0.0, side_m - 0.01);
                *way = -*way;
            }
        }
        let position = units(one.at);
        let cell = grid.cell(position);
        let has_crossed = std::mem::replace(&mut one.looked, cell) != cell;
        Stride { position, look: has_crossed.then(|| self.area(walker)) }
    }
}

fn units(at: [f64; 2]) -> [i32; 3] {
    [(at[0] * UNITS) as i32, 0, (at[1] * UNITS) as i32]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stays_on_the_field_and_looks_where_it_goes() {
        let mut walk = Walk::new(&mut Draw::new(1), 3, 40.0, 8.0);
        let mut looks = 0;
        for second in 1..200 {
            for walker in 0..3 {
                let Stride { position, look } = walk.stride(walker, second * 1_000_000);
                let metres = position.map(|n| f64::from(n) / UNITS);
                assert!(metres.iter().all(|m| (0.0..40.0).contains(m)), "{metres:?}");
                if let Some(area) = look {
                    looks += 1;
                    assert_eq!(area.center, position);
                }
            }
        }
        assert!(looks > 20, "{looks}");
    }
}
