//! Who is in a brane, and whose avatars are to be shown, made of what the
//! server says.

use std::collections::BTreeMap;

use avvy_model::UserId;
use avvy_protocol::{PeopleChanged, PeopleNews, PeoplePage, Person, PersonAt, Pose, Poses};

/// Somebody's avatar.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Avatar {
    /// Where it is.
    pub pose: Pose,
    /// What else it shows.
    pub state: Vec<u8>,
}

/// What is to be done after some news.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Then {
    /// Nothing.
    Nothing,
    /// Ask for the next page of the list, after this person.
    ListAfter(Person),
    /// Begin a new list.
    ListAnew,
}

/// The people of one joined brane. Begins anew with the first page of a list.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Roster {
    you: Option<Person>,
    /// Where the changes stand.
    at: Option<u64>,
    /// The last one of the pages that are there without a gap.
    listed: Option<Person>,
    is_whole: bool,
    people: BTreeMap<Person, UserId>,
    avatars: BTreeMap<Person, Avatar>,
    /// When a page that was refused is to be asked for again.
    pub(crate) again_ms: Option<u64>,
}

impl Roster {
    /// The own number.
    pub fn you(&self) -> Option<Person> {
        self.you
    }

    /// Whether every page of the list is there.
    pub fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// Who is there, oneself among them.
    pub fn people(&self) -> &BTreeMap<Person, UserId> {
        &self.people
    }

    /// The avatars to be shown.
    pub fn avatars(&self) -> &BTreeMap<Person, Avatar> {
        &self.avatars
    }

    /// Takes news in. A signal changes nothing.
    pub fn take(&mut self, news: &PeopleNews) -> Then {
        match news {
            PeopleNews::Page(page) => self.page(page),
            PeopleNews::Changed(changed) => self.changed(changed),
            PeopleNews::Poses(poses) => self.poses(poses),
            PeopleNews::Signal(_) => Then::Nothing,
        }
    }

    /// After whom the list goes on that was begun, if it was.
    pub(crate) fn goes_on_after(&self) -> Option<Person> {
        self.listed
    }

    fn page(&mut self, page: &PeoplePage) -> Then {
        self.again_ms = None;
        if page.after.is_none() {
            let (you, at) = (Some(page.you), Some(page.at));
            *self = Self { you, at, ..Self::default() };
        }
        self.add(&page.people);
        if page.after != self.listed {
            // Of a list that was begun before.
            return Then::Nothing;
        }
        (self.listed, self.is_whole) = (page.next, page.next.is_none());
        page.next.map_or(Then::Nothing, Then::ListAfter)
    }

    fn changed(&mut self, changed: &PeopleChanged) -> Then {
        let PeopleChanged { from, to, joined, left, reset, .. } = changed;
        match self.at {
            // What came before the first page is in it.
            None => return if *reset { Then::ListAnew } else { Then::Nothing },
            Some(at) if *reset || at != *from => {
                *self = Self::default();
                return Then::ListAnew;
            }
            Some(_) => self.at = Some(*to),
        }
        self.add(joined);
        for person in left {
            self.people.remove(person);
        }
        Then::Nothing
    }

    fn add(&mut self, people: &[PersonAt]) {
        self.people.extend(people.iter().map(|one| (one.person, one.user)));
    }

    fn poses(&mut self, poses: &Poses) -> Then {
        if self.at.is_none() {
            // They are told anew after the first page.
            return Then::Nothing;
        }
        for person in &poses.away {
            self.avatars.remove(person);
        }
        for (person, pose) in &poses.poses {
            match self.avatars.get_mut(person) {
                Some(avatar) => avatar.pose = *pose,
                None => {
                    self.avatars.insert(*person, Avatar { pose: *pose, state: Vec::new() });
                }
            }
        }
        for (person, state) in &poses.states {
            if let Some(avatar) = self.avatars.get_mut(person) {
                avatar.state.clone_from(state);
            }
        }
        Then::Nothing
    }
}
