//! Licence expressions (SPDX 2.3, annex D).

/// Whether somebody who may use only allowed licences may use something under
/// this expression. `WITH` and its exception belong to the licence's name.
/// The old `MIT/Apache-2.0` means `OR`. What cannot be read is not allowed.
pub fn is_allowed(expression: &str, allows: impl Fn(&str) -> bool) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let mut words = spaced.split_whitespace().peekable();
    let allowed = any(&mut words, &allows);
    words.next().is_none() && allowed.unwrap_or(false)
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

/// `None`: not an expression.
fn any(words: &mut Words<'_>, allows: &impl Fn(&str) -> bool) -> Option<bool> {
    let mut allowed = every(words, allows)?;
    while words.next_if_eq(&"OR").is_some() {
        allowed |= every(words, allows)?;
    }
    Some(allowed)
}

fn every(words: &mut Words<'_>, allows: &impl Fn(&str) -> bool) -> Option<bool> {
    let mut allowed = one(words, allows)?;
    while words.next_if_eq(&"AND").is_some() {
        allowed &= one(words, allows)?;
    }
    Some(allowed)
}

fn one(words: &mut Words<'_>, allows: &impl Fn(&str) -> bool) -> Option<bool> {
    let word = words.next()?;
    if word == "(" {
        let allowed = any(words, allows)?;
        words.next_if_eq(&")")?;
        return Some(allowed);
    }
    if matches!(word, ")" | "OR" | "AND" | "WITH") {
        return None;
    }
    if words.next_if_eq(&"WITH").is_some() {
        return Some(allows(&format!("{word} WITH {}", words.next()?)));
    }
    Some(allows(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn understands_expressions() {
        let allows =
            |id: &str| matches!(id, "MIT" | "BSD-3-Clause" | "Apache-2.0 WITH LLVM-exception");
        let allowed = [
            "MIT",
            "MIT OR GPL-3.0",
            "GPL-3.0 OR MIT",
            "GPL-3.0/MIT",
            "MIT AND BSD-3-Clause",
            "(GPL-3.0 OR MIT) AND BSD-3-Clause",
            "Apache-2.0 WITH LLVM-exception OR GPL-3.0",
            "GPL-3.0 AND GPL-2.0 OR MIT",
        ];
        let refused = [
            "",
            "GPL-3.0",
            "MIT AND GPL-3.0",
            "MIT AND (GPL-3.0 OR GPL-2.0)",
            "Apache-2.0",
            "Apache-2.0 WITH another",
            "MIT OR",
            "(MIT",
            "MIT)",
            "MIT BSD-3-Clause",
            "mit",
        ];
        for expression in allowed {
            assert!(is_allowed(expression, allows), "{expression}");
        }
        for expression in refused {
            assert!(!is_allowed(expression, allows), "{expression}");
        }
    }
}
