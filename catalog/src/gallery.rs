//! The galleries of groups: the prototypes that a group offers, in an order.

use avvy_model::{Code, UserId};
use uuid::Uuid;

use crate::objects::{Changed, ObjectPatch};
use crate::work::Work;
use crate::{Catalog, Refused};

/// A change of a gallery.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum GalleryEdit {
    /// Adds a prototype before the one that stands at this place, or at the end.
    /// One that is there goes to that place.
    Put {
        /// The prototype.
        prototype: Uuid,
        /// From 0; beyond the end is the end.
        at: usize,
    },
    /// Takes a prototype out.
    Remove(Uuid),
}

impl Catalog {
    /// Changes the gallery of a group as [`Self::update_object`] does.
    ///
    /// # Errors
    /// As there; `not_found` for a prototype that the owner does not see or that
    /// is not there to be taken out; `gallery_full`.
    pub async fn edit_gallery(
        &self,
        owner: UserId,
        group: Uuid,
        version: Option<u64>,
        edit: GalleryEdit,
        draft: Uuid,
        now_s: u64,
    ) -> Result<Changed, Refused> {
        // It is changed as it was read, or read again.
        let mut attempts = crate::work::Attempts::new();
        loop {
            let stored = self.object(group, owner, now_s).await?;
            let seen = version.unwrap_or(stored.version);
            let mut gallery = stored.thing.object()?.gallery.clone();
            edit.apply(&mut gallery)?;
            let patch = ObjectPatch { gallery: Some(gallery), ..ObjectPatch::default() };
            let changed = self.update_object(owner, group, Some(seen), patch, draft, now_s).await;
            match changed {
                Err(refused) if refused == Code::PreconditionFailed && version.is_none() => {
                    attempts.again()?;
                }
                changed => return changed,
            }
        }
    }

    /// Refuses what a gallery cannot be. What was in it before may have gone.
    pub(crate) async fn check_gallery(
        &self,
        work: &Work,
        before: &[Uuid],
        gallery: &[Uuid],
    ) -> Result<(), Refused> {
        if gallery.len() > self.limits.max_gallery {
            return Err(Code::GalleryFull.into());
        }
        if (1..gallery.len()).any(|nth| gallery[..nth].contains(&gallery[nth])) {
            return Err(Refused::because(Code::Malformed, "gallery_ids: none twice"));
        }
        let new: Vec<Uuid> = gallery.iter().copied().filter(|id| !before.contains(id)).collect();
        for found in self.load(&new, work.now_s).await? {
            let thing = found.ok_or(Code::NotFound)?.thing;
            thing.prototype()?;
            if !thing.is_seen_by(work.owner) || thing.is_deleted {
                return Err(Code::NotFound.into());
            }
        }
        Ok(())
    }
}

impl GalleryEdit {
    fn apply(&self, gallery: &mut Vec<Uuid>) -> Result<(), Refused> {
        let (Self::Put { prototype, .. } | Self::Remove(prototype)) = self;
        let before = gallery.len();
        gallery.retain(|id| id != prototype);
        match self {
            Self::Put { prototype, at } => gallery.insert((*at).min(gallery.len()), *prototype),
            Self::Remove(_) if gallery.len() == before => return Err(Code::NotFound.into()),
            Self::Remove(_) => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn puts_and_removes() {
        let ids = [1, 2, 3, 4].map(Uuid::from_u128);
        let [a, b, c, d] = ids;
        let apply = |edit: GalleryEdit| {
            let mut gallery = vec![a, b, c];
            edit.apply(&mut gallery).map(|()| gallery)
        };
        let put = |prototype, at| apply(GalleryEdit::Put { prototype, at });
        assert_eq!(put(d, 0), Ok(vec![d, a, b, c]));
        assert_eq!(put(d, 9), Ok(vec![a, b, c, d]));
        assert_eq!(put(a, 2), Ok(vec![b, c, a]));
        assert_eq!(apply(GalleryEdit::Remove(b)), Ok(vec![a, c]));
        assert_eq!(apply(GalleryEdit::Remove(d)), Err(Code::NotFound.into()));
    }
}
