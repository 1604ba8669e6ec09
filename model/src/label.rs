//! How people may call a thing or a world: the same bounds for both.

/// The longest name, in bytes of UTF-8.
pub const MAX_NAME_BYTES: usize = 256;

/// The longest description, in bytes of UTF-8.
pub const MAX_DESCRIPTION_BYTES: usize = 4_096;

/// The most tags.
pub const MAX_TAGS: usize = 16;

/// The longest tag, in bytes of UTF-8.
pub const MAX_TAG_BYTES: usize = 32;

/// Whether this is a name: 1 to [`MAX_NAME_BYTES`] bytes, not only spaces, no
/// control characters.
pub fn is_name(text: &str) -> bool {
    !text.trim().is_empty() && text.len() <= MAX_NAME_BYTES && !text.contains(char::is_control)
}

/// Whether this is a description: up to [`MAX_DESCRIPTION_BYTES`] bytes; line
/// breaks are the only control characters.
pub fn is_description(text: &str) -> bool {
    let is_bad = |letter: char| letter.is_control() && letter != '\n';
    text.len() <= MAX_DESCRIPTION_BYTES && !text.contains(is_bad)
}

/// Whether these are tags: up to [`MAX_TAGS`], each of 1 to [`MAX_TAG_BYTES`]
/// bytes without spaces and control characters, none twice.
pub fn are_tags(tags: &[String]) -> bool {
    let is_bad = |letter: char| letter.is_control() || letter.is_whitespace();
    let is_good = |tag: &String| (1..=MAX_TAG_BYTES).contains(&tag.len()) && !tag.contains(is_bad);
    let is_new = |(nth, tag): (usize, &String)| !tags[..nth].contains(tag);
    tags.len() <= MAX_TAGS && tags.iter().all(is_good) && tags.iter().enumerate().all(is_new)
}
