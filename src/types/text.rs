//! Text that people type: names and reasons.

/// The longest text that is typed into one field, in characters.
pub const LONGEST_TEXT: usize = 200;
/// The longest reason that is kept beside what was done, in characters.
pub const LONGEST_REASON: usize = 500;

/// Tells whether a text can be seen, is not too long, and neither steers a terminal nor turns the words around it.
pub fn is_printable(text: &str, longest: usize) -> bool {
    let is_unseen =
        |char: char| matches!(char, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    !text.trim().is_empty() && text.chars().count() <= longest && !text.chars().any(|char| char.is_control() || is_unseen(char))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_seen_fits_and_does_nothing_but_say_something() {
        assert!(is_printable("Zoë's backups, № 7", LONGEST_TEXT) && is_printable(&"é".repeat(200), LONGEST_TEXT));
        for text in ["", "  ", "two\nlines", "\u{1b}[2J", "turned \u{202e}round", "\u{200b}", &"a".repeat(201)] {
            assert!(!is_printable(text, LONGEST_TEXT), "{text:?}");
        }
    }
}
