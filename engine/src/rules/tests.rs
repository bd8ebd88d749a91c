use microgw_proto::rules::v1 as proto;

use super::*;
use crate::fixtures::{IDP, book, header_key, oauth2, policy};

#[test]
fn policies_that_would_let_everybody_in_do_not_load() {
    let load = |policy| Rule::load(&book(policy)).err();
    assert_eq!(load(policy(vec![vec![]])), Some(LoadError::EmptyAlternative));
    let mut unknown = policy(vec![vec![oauth2(&[], false)]]);
    unknown.alternatives[0].requirements[0].kind = None;
    assert_eq!(load(unknown), Some(LoadError::UnknownRequirement));
    let nowhere = proto::requirement::Kind::ApiKey(proto::ApiKey { location: 0, name: "k".into() });
    assert_eq!(load(policy(vec![vec![nowhere]])), Some(LoadError::KeyLocation));
    let shouted = load(policy(vec![vec![header_key("X-Key")]]));
    assert_eq!(shouted, Some(LoadError::HeaderName("X-Key".into())));
    let mut shared = book(policy(vec![]));
    shared.api_keys.as_mut().unwrap().issuer = IDP.into();
    assert_eq!(Rule::load(&shared).err(), Some(LoadError::RepeatedIssuer(IDP.into())));
}

#[test]
fn ids_are_written_in_one_way() {
    let text = "0123456789abcdef0123456789abcdef";
    assert_eq!(text.parse::<RuleId>().unwrap().to_string(), text);
    assert_eq!(RuleId(1).to_string().parse(), Ok(RuleId(1)));
    for text in ["", "1", "0123456789ABCDEF0123456789abcdef", "+123456789abcdef0123456789abcdef", &format!("{text}0")] {
        assert_eq!(text.parse::<RuleId>(), Err(ParseRuleIdError), "{text}");
    }
}

#[test]
fn a_book_that_contradicts_itself_does_not_load() {
    let load = |change: fn(&mut proto::RuleBook)| {
        let mut book = book(policy(vec![]));
        change(&mut book);
        Rule::load(&book).err()
    };
    assert_eq!(load(|_| ()), None);
    assert_eq!(load(|book| book.rules[0].id = vec![1; 15]), Some(LoadError::RuleId(15)));
    assert_eq!(load(|book| book.rules[0].api = 1), Some(LoadError::UnknownApi(RuleId(1))));
    assert_eq!(load(|book| book.rules[0].policy = 1), Some(LoadError::UnknownPolicy(RuleId(1))));
    assert_eq!(load(|book| book.issuers[0].algorithms = vec![]), Some(LoadError::NoAlgorithm(IDP.into())));
    let hmac = load(|book| book.issuers[0].algorithms = vec!["HS256".into()]);
    assert_eq!(hmac, Some(LoadError::UnknownAlgorithm("HS256".into())));
}
