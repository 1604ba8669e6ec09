//! Words of a text, as searches compare them.
//!
//! A text is brought to compatibility decomposition (Unicode NFKD), marks are
//! dropped, and case is folded by way of capitals, so that `Straße`, `STRASSE`
//! and `strasse` are one word, and so are `Café` and `cafe`. What is left is
//! cut wherever there is no letter or digit. Scripts that put no spaces between
//! words are cut after each sign.

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// The longest word, in bytes; what is longer is cut.
const MAX_WORD_BYTES: usize = 48;

/// A text, folded.
pub(crate) fn fold(text: &str) -> String {
    // Its letters have no other form and no marks.
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    text.nfkd()
        .flat_map(char::to_uppercase)
        .flat_map(char::to_lowercase)
        .nfkd()
        .filter(|letter| !is_combining_mark(*letter))
        .collect()
}

/// The words of a text in their order, each once, `max` at most.
pub(crate) fn words<'a>(texts: impl IntoIterator<Item = &'a str>, max: usize) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for text in texts {
        let folded = fold(text);
        for word in folded.split(|letter: char| !letter.is_alphanumeric()) {
            for word in signs(word) {
                let word = cut(word, MAX_WORD_BYTES);
                if words.len() == max {
                    return words;
                }
                if !word.is_empty() && !words.iter().any(|other| other == word) {
                    words.push(word.to_owned());
                }
            }
        }
    }
    words
}

/// A word, or each sign of one in a script without spaces.
fn signs(word: &str) -> impl Iterator<Item = &str> {
    let mut rest = word;
    std::iter::from_fn(move || {
        let first = rest.chars().next()?;
        let end = match is_sign(first) {
            true => first.len_utf8(),
            false => rest.find(is_sign).unwrap_or(rest.len()),
        };
        let (word, left) = rest.split_at(end);
        rest = left;
        Some(word)
    })
}

/// Kana and ideographs.
const fn is_sign(letter: char) -> bool {
    matches!(letter, '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}'
        | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}')
}

/// The beginning of a text, so many bytes at most.
pub(crate) fn cut(text: &str, max: usize) -> &str {
    let end = (0..=max.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or(0)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Vec<String> {
        words([text], 100)
    }

    #[test]
    fn folds_case_marks_and_forms() {
        for (text, folded) in [
            ("Straße STRASSE", vec!["strasse"]),
            ("Café CAFE\u{301}", vec!["cafe"]),
            ("İstanbul ıstanbul", vec!["istanbul"]),
            ("ΣΊΣΥΦΟΣ σίσυφος", vec!["σισυφοσ"]),
            ("ﬁre ①", vec!["fire", "1"]),
            ("a-b_c, a", vec!["a", "b", "c"]),
            ("東京タワーtower", vec!["東", "京", "タ", "ワ", "ー", "tower"]),
            (" \u{301} ", vec![]),
        ] {
            assert_eq!(of(text), folded, "{text}");
        }
    }

    #[test]
    fn plain_letters_are_folded_like_others() {
        let plain: String = (0..128_u8).map(char::from).collect();
        assert_eq!(fold(&plain) + "e", fold(&(plain + "É")));
    }

    #[test]
    fn words_are_bounded() {
        assert_eq!(of(&"a".repeat(100)), ["a".repeat(MAX_WORD_BYTES)]);
        assert_eq!(of(&"д".repeat(100))[0].len(), MAX_WORD_BYTES);
        let many: Vec<String> = (0..100).map(|nth| format!("w{nth}")).collect();
        assert_eq!(words([many.join(" ").as_str()], 7).len(), 7);
    }
}
