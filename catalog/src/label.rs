//! What people call a thing.

use avvy_model::Code;
pub use avvy_model::label::{MAX_DESCRIPTION_BYTES, MAX_NAME_BYTES, MAX_TAG_BYTES, MAX_TAGS};
use avvy_model::label::{are_tags, is_description, is_name};

use crate::Refused;

/// Name, description and tags of a thing.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Label {
    /// 1 to [`MAX_NAME_BYTES`] bytes, not only spaces, no control characters.
    pub name: String,
    /// Up to [`MAX_DESCRIPTION_BYTES`] bytes; line breaks are the only control
    /// characters.
    pub description: String,
    /// Up to [`MAX_TAGS`], each of 1 to [`MAX_TAG_BYTES`] bytes without spaces
    /// and control characters, none twice.
    pub tags: Vec<String>,
}

/// Changes of a label; what is `None` stays.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LabelPatch {
    /// The new name.
    pub name: Option<String>,
    /// The new description.
    pub description: Option<String>,
    /// All tags from now on.
    pub tags: Option<Vec<String>>,
}

impl Label {
    /// Holds a label to what one can be.
    ///
    /// # Errors
    /// `malformed`, with what is wrong.
    pub fn check(&self) -> Result<(), Refused> {
        let malformed = |details| Err(Refused::because(Code::Malformed, details));
        if !is_name(&self.name) {
            return malformed("name: 1 to 256 bytes without control characters");
        }
        if !is_description(&self.description) {
            return malformed("description: up to 4,096 bytes, with line breaks alone");
        }
        if !are_tags(&self.tags) {
            return malformed("tags: up to 16, each 1 to 32 bytes without spaces, none twice");
        }
        Ok(())
    }

    /// The label with a patch applied.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub fn patched(&self, patch: LabelPatch) -> Result<Self, Refused> {
        let LabelPatch { name, description, tags } = patch;
        let label = Self {
            name: name.unwrap_or_else(|| self.name.clone()),
            description: description.unwrap_or_else(|| self.description.clone()),
            tags: tags.unwrap_or_else(|| self.tags.clone()),
        };
        label.check()?;
        Ok(label)
    }

    /// What it takes, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        let tags = self.tags.iter().map(String::len).sum::<usize>();
        (self.name.len() + self.description.len() + tags) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(name: &str, description: &str, tags: &[&str]) -> Label {
        let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
        Label { name: name.to_owned(), description: description.to_owned(), tags }
    }

    #[test]
    fn labels_are_bounded() {
        let long = "n".repeat(MAX_NAME_BYTES + 1);
        let much = "d".repeat(MAX_DESCRIPTION_BYTES + 1);
        let many: Vec<String> = (0..=MAX_TAGS).map(|nth| format!("t{nth}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        for good in [
            label("a", "", &[]),
            label(&long[1..], &much[1..], &many[1..]),
            label("Stühle", "two\nlines", &["holz", "Holz"]),
        ] {
            assert_eq!(good.check(), Ok(()), "{good:?}");
        }
        let tag = "t".repeat(MAX_TAG_BYTES + 1);
        for bad in [
            label("", "", &[]),
            label(" ", "", &[]),
            label("a\nb", "", &[]),
            label(&long, "", &[]),
            label("a", &much, &[]),
            label("a", "\r", &[]),
            label("a", "", &many),
            label("a", "", &["x", "x"]),
            label("a", "", &["x y"]),
            label("a", "", &[""]),
            label("a", "", &[&tag]),
        ] {
            assert_eq!(
                bad.check().map_err(|refused| refused.code),
                Err(Code::Malformed),
                "{bad:?}"
            );
        }
    }

    #[test]
    fn a_patch_changes_what_it_names() {
        let before = label("a", "b", &["c"]);
        let patch = LabelPatch { description: Some("d".to_owned()), ..LabelPatch::default() };
        assert_eq!(before.patched(patch), Ok(label("a", "d", &["c"])));
        let patch = LabelPatch { name: Some(String::new()), ..LabelPatch::default() };
        assert!(before.patched(patch).is_err());
    }
}
