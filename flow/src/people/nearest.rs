//! Who is nearest: a k-d tree over the poses at one moment, in an array. It
//! costs as much in a crowd on one spot as in one that is spread over miles.

use avvy_protocol::Person;

/// Somebody at a place.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub position: [i32; 3],
    pub slot: u32,
    pub person: Person,
}

/// Somebody near, with the square of the distance in units of 0.1 mm.
#[derive(Clone, Copy)]
pub(super) struct Near {
    pub distance2: f64,
    pub slot: u32,
    pub person: Person,
}

/// The tree: the median of each range in its middle, the smaller ones before it.
#[derive(Default)]
pub(super) struct Nearest {
    places: Vec<Place>,
}

impl Nearest {
    pub fn new(mut places: Vec<Place>) -> Self {
        arrange(&mut places, 0);
        Self { places }
    }

    /// At most `most` of those whom `keep` keeps, nearest first into no order
    /// that counts; of equals the ones with the lower numbers.
    pub fn find(
        &self,
        from: [i32; 3],
        most: usize,
        keep: impl Fn(&Place) -> bool,
        found: &mut Vec<Near>,
    ) {
        found.clear();
        if most > 0 {
            let mut search = Search { from, most, keep, found };
            search.visit(&self.places, 0);
        }
    }
}

fn arrange(places: &mut [Place], axis: usize) {
    if places.len() < 2 {
        return;
    }
    let middle = places.len() / 2;
    places.select_nth_unstable_by_key(middle, |place| (place.position[axis], place.person));
    let (low, high) = places.split_at_mut(middle);
    arrange(low, (axis + 1) % 3);
    arrange(&mut high[1..], (axis + 1) % 3);
}

/// The square of a distance.
pub(super) fn distance2(a: [i32; 3], b: [i32; 3]) -> f64 {
    let apart = |axis: usize| f64::from(a[axis]) - f64::from(b[axis]);
    (0..3).map(|axis| apart(axis) * apart(axis)).sum()
}

/// `found` is a heap with the farthest on top.
struct Search<'a, K> {
    from: [i32; 3],
    most: usize,
    keep: K,
    found: &'a mut Vec<Near>,
}

impl<K: Fn(&Place) -> bool> Search<'_, K> {
    fn visit(&mut self, places: &[Place], axis: usize) {
        let middle = places.len() / 2;
        let Some(place) = places.get(middle) else { return };
        if (self.keep)(place) {
            self.take(Near {
                distance2: distance2(self.from, place.position),
                slot: place.slot,
                person: place.person,
            });
        }
        let apart = f64::from(self.from[axis]) - f64::from(place.position[axis]);
        let (low, high) = (&places[..middle], &places[middle + 1..]);
        let (here, there) = if apart < 0.0 { (low, high) } else { (high, low) };
        let next = (axis + 1) % 3;
        self.visit(here, next);
        let is_open = self.found.len() < self.most || apart * apart <= self.found[0].distance2;
        if is_open {
            self.visit(there, next);
        }
    }

    fn take(&mut self, near: Near) {
        if self.found.len() < self.most {
            self.found.push(near);
            self.rise();
        } else if is_farther(&self.found[0], &near) {
            self.found[0] = near;
            self.sink();
        }
    }

    fn rise(&mut self) {
        let mut at = self.found.len() - 1;
        while at > 0 && is_farther(&self.found[at], &self.found[(at - 1) / 2]) {
            self.found.swap(at, (at - 1) / 2);
            at = (at - 1) / 2;
        }
    }

    fn sink(&mut self) {
        let mut at = 0;
        loop {
            let children = [2 * at + 1, 2 * at + 2].into_iter().filter(|i| *i < self.found.len());
            let farthest = children
                .reduce(|a, b| if is_farther(&self.found[b], &self.found[a]) { b } else { a });
            match farthest {
                Some(child) if is_farther(&self.found[child], &self.found[at]) => {
                    self.found.swap(at, child);
                    at = child;
                }
                _ => return,
            }
        }
    }
}

fn is_farther(a: &Near, b: &Near) -> bool {
    (a.distance2, a.person) > (b.distance2, b.person)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn finds_those_whom_sorting_finds(
            points in prop::collection::vec(
                prop_oneof![any::<[i32; 3]>(), [0..9i32, 0..9i32, 0..2i32]], 0..200),
            from in prop_oneof![any::<[i32; 3]>(), [0..9i32, 0..9i32, 0..2i32]],
            most in 0..40usize,
        ) {
            let places: Vec<Place> = (1..).zip(&points)
                .map(|(n, position)| Place { position: *position, slot: n, person: Person(n) })
                .collect();
            let keep = |place: &Place| !place.slot.is_multiple_of(5);
            let mut expected: Vec<(f64, Person)> = places.iter().filter(|p| keep(p))
                .map(|place| (distance2(from, place.position), place.person)).collect();
            expected.sort_by(|a, b| a.partial_cmp(b).unwrap());
            expected.truncate(most);
            let mut found = Vec::new();
            Nearest::new(places).find(from, most, keep, &mut found);
            let mut found: Vec<_> = found.iter().map(|n| (n.distance2, n.person)).collect();
            found.sort_by(|a, b| a.partial_cmp(b).unwrap());
            prop_assert_eq!(found, expected);
        }
    }
}
