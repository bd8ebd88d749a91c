use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};

use super::*;

const DER: &[u8] = b"not a certificate, and that is not the question here: \xff\xfe";

const HEX: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];

fn block(der: &[u8]) -> String {
    format!("{BEGIN}\n{}\n{END}\n", STANDARD.encode(der))
}

fn encoded(text: &str) -> String {
    text.bytes().flat_map(|byte| ['%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]).collect()
}

#[test]
fn the_forms_in_which_they_come() {
    let chain = [block(DER), block(b"second")].concat();
    let read = |text: &str| read(text).map(|chain| chain.iter().map(|der| der.to_vec()).collect::<Vec<_>>());
    let one = Ok(vec![DER.to_vec()]);
    for text in [
        block(DER),
        block(DER).replace('\n', " "),
        block(DER).replace('\n', "\t"),
        encoded(&block(DER)),
        STANDARD.encode(DER),
        STANDARD_NO_PAD.encode(DER),
        format!(":{}:", STANDARD.encode(DER)),
        encoded(&STANDARD.encode(DER)),
        STANDARD.encode(block(DER)),
    ] {
        assert_eq!(read(&text), one, "{text}");
    }
    let two = Ok(vec![DER.to_vec(), b"second".to_vec()]);
    assert_eq!(read(&chain), two);
    assert_eq!(read(&encoded(&chain)), two);
    let many = |count| block(DER).repeat(count);
    assert!(read(&many(8)).is_ok());
    for (text, error) in [
        (many(9), TokenError::TooLong),
        ("A".repeat(MAX_LENGTH + 1), TokenError::TooLong),
        (String::new(), TokenError::CertificateForm),
        ("garbage!".to_owned(), TokenError::CertificateForm),
        ("%4".to_owned(), TokenError::CertificateForm),
        ("%zz".to_owned(), TokenError::CertificateForm),
        ("%ff".to_owned(), TokenError::CertificateForm),
        (BEGIN.to_owned(), TokenError::CertificateForm),
        (format!("{BEGIN}{END}"), TokenError::CertificateForm),
        (format!("{},{}", STANDARD.encode(DER), STANDARD.encode(DER)), TokenError::CertificateForm),
        (format!("{},{}", block(DER), block(DER)), TokenError::CertificateForm),
        (format!("x{}", block(DER)), TokenError::CertificateForm),
        (format!("{}x", block(DER)), TokenError::CertificateForm),
    ] {
        assert_eq!(read(&text), Err(error), "{text}");
    }
}
