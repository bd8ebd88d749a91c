use super::*;

fn key(index: usize) -> ApiKey {
    ApiKey(format!("api{index:04}").into())
}

/// Runs a bisection of `count` APIs against an oracle that says why a set of APIs is refused.
fn run(count: usize, refuses: impl Fn(&BTreeSet<usize>) -> Option<String>) -> (Result<Vec<usize>, String>, usize) {
    let all: BTreeSet<usize> = (0..count).collect();
    let text = refuses(&all).expect("the oracle must refuse the whole");
    let suspects = all.iter().map(|index| (key(*index), Fallback::Previous)).collect();
    let mut bisection = Bisection::new(suspects, text);
    let mut accepted = None;
    while let Some(fallbacks) = bisection.trial() {
        let served: BTreeSet<usize> =
            all.iter().copied().filter(|index| !fallbacks.contains_key(&key(*index))).collect();
        assert!(served.len() < count, "what was refused is tried again");
        if let Some(text) = refuses(&served) {
            bisection.refused(text);
        } else {
            accepted = Some(served);
            bisection.accepted();
        }
    }
    let trials = bisection.trials;
    let outcome = bisection.finish().map(|faulty| {
        let faults: Vec<usize> =
            all.iter().copied().filter(|index| faulty.iter().any(|one| one.api == key(*index))).collect();
        assert_eq!(faults.len(), faulty.len(), "each once");
        // The last accepted trial is the answer: nothing else has to be offered.
        let rest: BTreeSet<usize> = all.iter().copied().filter(|index| !faults.contains(index)).collect();
        assert_eq!(accepted, Some(rest));
        faults
    });
    (outcome, trials)
}

fn bad(faulty: &'static [usize]) -> impl Fn(&BTreeSet<usize>) -> Option<String> {
    move |served| faulty.iter().find(|index| served.contains(index)).map(|index| format!("bad {index}"))
}

#[test]
fn every_single_fault_is_found_in_few_trials() {
    for faulty in 0..100 {
        let (outcome, trials) = run(100, |served| served.contains(&faulty).then(|| "bad".to_owned()));
        assert_eq!(outcome, Ok(vec![faulty]));
        assert!(trials <= 1 + 14, "{trials}");
    }
    let (_, trials) = run(1_000, bad(&[700]));
    assert!(trials <= 21, "{trials}");
}

#[test]
fn several_faults_are_found() {
    assert_eq!(run(40, bad(&[3, 17, 18, 39])).0, Ok(vec![3, 17, 18, 39]));
    assert_eq!(run(3, bad(&[0, 1, 2])).0, Ok(vec![0, 1, 2]));
    assert_eq!(run(1, bad(&[0])).0, Ok(vec![0]));
}

#[test]
fn each_fault_has_its_own_text() {
    let suspects = (0..4).map(|index| (key(index), Fallback::Unavailable)).collect();
    let mut bisection = Bisection::new(suspects, "bad 1, bad 2".to_owned());
    while let Some(fallbacks) = bisection.trial() {
        match [1, 2].into_iter().find(|index| !fallbacks.contains_key(&key(*index))) {
            Some(index) => bisection.refused(format!("bad {index}")),
            None => bisection.accepted(),
        }
    }
    let texts: Vec<String> =
        bisection.finish().unwrap().into_iter().map(|one| format!("{} {}", one.api, one.text)).collect();
    assert_eq!(texts, ["api0001 bad 1", "api0002 bad 2"]);
}

#[test]
fn of_two_apis_that_only_clash_one_stays() {
    let clash =
        |served: &BTreeSet<usize>| (served.contains(&2) && served.contains(&7)).then(|| "duplicate domain".to_owned());
    assert_eq!(run(10, clash).0, Ok(vec![7]));
}

#[test]
fn what_is_common_to_all_is_found_at_once() {
    let (outcome, trials) = run(1_000, |_| Some("bad listener".to_owned()));
    assert_eq!((outcome, trials), (Err("bad listener".to_owned()), 1));
    let nothing = Bisection::new(Vec::new(), "bad listener".to_owned());
    assert_eq!(nothing.finish(), Err("bad listener".to_owned()));
}

#[test]
fn trials_are_bounded() {
    let (outcome, trials) = run(2_000, |served| (!served.is_empty()).then(|| "bad".to_owned()));
    assert_eq!(outcome.unwrap().len(), 2_000);
    assert_eq!(trials, MAX_TRIALS);
}
