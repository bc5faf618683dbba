//! UUIDs as text, quickly.

/// Two hexadecimal digits for every byte.
const HEX: [[u8; 2]; 256] = {
    let digits = b"0123456789abcdef";
    let mut table = [[0; 2]; 256];
    let mut byte = 0;
    while byte < table.len() {
        table[byte] = [digits[byte >> 4], digits[byte & 15]];
        byte += 1;
    }
    table
};
/// Where the text of a UUID has each byte's digits; between them stand hyphens.
const DIGITS_AT: [usize; 16] = [0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34];

/// Writes a UUID as text. There are several in every row, which is why it is done here.
pub(crate) fn hyphenated(id: &[u8; 16]) -> [u8; 36] {
    let mut text = [b'-'; 36];
    for (byte, at) in id.iter().zip(DIGITS_AT) {
        text[at..at + 2].copy_from_slice(&HEX[usize::from(*byte)]);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_is_written_as_everybody_writes_it() {
        for id in [uuid::Uuid::nil(), uuid::Uuid::max(), uuid::Uuid::now_v7(), uuid::uuid!("0123abcd-ef45-6789-abcd-ef0123456789")] {
            assert_eq!(hyphenated(id.as_bytes()), *id.to_string().as_bytes());
        }
    }
}
