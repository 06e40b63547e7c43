use proptest::prelude::*;

use super::*;
use crate::access::Door;
use crate::clock::FixedClock;

/// Ids in a row.
#[derive(Debug, Default)]
struct Numbered(std::sync::atomic::AtomicU64);

impl Mint for Numbered {
    fn uuid(&self) -> uuid::Uuid {
        let number = self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        uuid::Uuid::from_u128(1 << 96 | u128::from(number))
    }
}

fn record(mint: &Numbered, target: &str, detail: Value) -> AuditRecord {
    let clock = FixedClock::new(DateTime::from_timestamp(1_767_225_600, 123_456_000).unwrap());
    let who = Principal::local(Door::Rest);
    AuditRecord::of(&clock, mint, &who, "thing.do", target.to_owned(), detail)
}

fn chain(targets: &[String]) -> Vec<Sealed> {
    let mint = Numbered::default();
    let mut last = Anchor::GENESIS;
    let sealed = targets.iter().map(|target| {
        let record = record(&mint, target, serde_json::json!({"z": 1, "a": target}));
        let seal = Seal::after(last, &record);
        last = seal.anchor();
        Sealed { seal, record }
    });
    sealed.collect()
}

fn verify(rows: &[Sealed], head: Option<Anchor>) -> Verdict {
    let mut verifier = Verifier::new(Anchor::GENESIS, 0);
    for row in rows {
        verifier.walk(&Walked {
            seal: row.seal,
            id: Some(row.record.id),
            record: Some(row.record.clone()),
            mark: Mark::Unknown,
        });
    }
    if let Some(head) = head {
        let at = DateTime::from_timestamp(0, 0).unwrap();
        let checkpoint = Checkpoint { head, pruned: Anchor::GENESIS, unmarked: 0, at };
        verifier.reached(&checkpoint);
    }
    verifier.verdict()
}

#[test]
fn the_canonical_form_is_what_the_docs_say() {
    let one = record(&Numbered::default(), "t", serde_json::json!({"b": 1, "a": [true, null]}));
    let text = canonical(&one, Some(7));
    assert_eq!(
        text,
        "{\"action\":\"thing.do\",\"actor\":{\"id\":\"local\",\"kind\":\"person\",\"via\":\"rest\"},\
         \"at\":\"2026-01-01T00:00:00.123456Z\",\"detail\":{\"a\":[true,null],\"b\":1},\
         \"id\":\"aud_00000001000000000000000000000000\",\"result\":\"allowed\",\"seq\":7,\
         \"target\":\"t\"}"
    );
    let seal = Seal::after(Anchor { seq: 6, hash: ChainHash::GENESIS }, &one);
    let mut bytes = vec![0; 32];
    bytes.extend(text.as_bytes());
    assert_eq!(format!("sha256:{}", seal.hash), digest(&bytes));
}

#[test]
fn a_record_reads_back_as_it_was_and_keeps_its_hash() {
    for row in chain(&["a".to_owned(), "\u{e9}\n\"".to_owned()]) {
        let text = serde_json::to_string(&row).unwrap();
        let back: Sealed = serde_json::from_str(&text).unwrap();
        assert_eq!(back, row, "{text}");
        let line = ExportLine::Record(Box::new(row));
        let text = serde_json::to_string(&line).unwrap();
        assert!(text.starts_with(r#"{"kind":"record","seq":"#), "{text}");
        assert_eq!(serde_json::from_str::<ExportLine>(&text).unwrap(), line, "{text}");
    }
}

#[test]
fn what_a_caller_chose_is_bounded() {
    let mut one = record(&Numbered::default(), &"t".repeat(9000), serde_json::json!({}));
    one.user_agent = Some(format!("a\u{0}\n{}", "x".repeat(9000)));
    one.reason = Some("r".repeat(9000));
    one.detail = serde_json::json!({"much": "m".repeat(MAX_DETAIL)});
    let kept = one.bounded();
    assert_eq!(kept.target.len(), MAX_TARGET);
    let agent = kept.user_agent.unwrap();
    assert!(agent.starts_with("a\u{fffd}\u{fffd}x") && agent.chars().count() == MAX_USER_AGENT);
    assert_eq!(kept.reason.unwrap().len(), MAX_REASON);
    assert!(kept.detail["left_out_bytes"].as_u64().unwrap() > MAX_DETAIL as u64);
}

#[test]
fn what_the_detail_says_of_before_after_and_reason_is_in_the_record() {
    let detail = serde_json::json!({"before": {"a": 1}, "after": {"a": 2}, "reason": "because"});
    let one = record(&Numbered::default(), "t", detail);
    assert_eq!(one.before_digest.unwrap(), digest(br#"{"a":1}"#));
    assert_eq!(one.after_digest.unwrap(), digest(br#"{"a":2}"#));
    assert_eq!(one.reason.as_deref(), Some("because"));
    let one = record(&Numbered::default(), "t", serde_json::json!({"plan_digest": "sha256:1"}));
    assert_eq!((one.before_digest, one.after_digest.as_deref()), (None, Some("sha256:1")));
}

#[test]
fn a_mark_that_is_wrong_or_missing_is_forged() {
    let rows = chain(&["a".to_owned(), "b".to_owned()]);
    let look = |mark, unmarked| {
        let mut verifier = Verifier::new(Anchor::GENESIS, unmarked);
        for row in &rows {
            let record = Some(row.record.clone());
            verifier.walk(&Walked { seal: row.seal, id: None, record, mark });
        }
        verifier.verdict().findings.into_iter().map(|f| (f.kind, f.seq)).collect::<Vec<_>>()
    };
    assert_eq!(look(Mark::Right, 0), []);
    assert_eq!(look(Mark::None, 2), []);
    assert_eq!(look(Mark::None, 1), [(FindingKind::Forged, 2)]);
    assert_eq!(look(Mark::Wrong, 2), [(FindingKind::Forged, 1), (FindingKind::Forged, 2)]);
}

/// A way to touch a chain.
#[derive(Debug, Clone)]
enum Touch {
    Change(usize, u8),
    /// Changed, and sealed anew by somebody who knows how.
    Reseal(usize),
    Drop(usize),
    Swap(usize, usize),
    Repeat(usize),
    Insert(usize),
    Cut(usize),
}

fn touches() -> impl Strategy<Value = Touch> {
    let at = any::<usize>;
    prop_oneof![
        (at(), 0..9u8).prop_map(|(at, field)| Touch::Change(at, field)),
        at().prop_map(Touch::Reseal),
        at().prop_map(Touch::Drop),
        (at(), at()).prop_map(|(one, other)| Touch::Swap(one, other)),
        at().prop_map(Touch::Repeat),
        at().prop_map(Touch::Insert),
        at().prop_map(Touch::Cut),
    ]
}

/// Touches a chain; the number of the record that must be named, if the chain is another one now.
fn touch(rows: &mut Vec<Sealed>, how: &Touch) -> Option<i64> {
    let len = rows.len();
    match *how {
        Touch::Change(at, field) => {
            let row = &mut rows[at % len];
            let seq = row.seal.seq;
            match field {
                0 => row.record.target.push('x'),
                1 => row.record.action.push('x'),
                2 => row.record.result = AuditResult::Failed,
                3 => row.record.detail["a"] = "other".into(),
                4 => row.record.at += chrono::Duration::microseconds(1),
                5 => row.record.actor.id.push('x'),
                6 => row.seal.hash.0[0] ^= 1,
                7 => row.seal.prev_hash.0[31] ^= 1,
                _ => row.record.reason = Some(String::new()),
            }
            Some(seq)
        }
        Touch::Reseal(at) => {
            let at = at % len;
            let before = Anchor { seq: rows[at].seal.seq - 1, hash: rows[at].seal.prev_hash };
            rows[at].record.target.push('x');
            rows[at].seal = Seal::after(before, &rows[at].record);
            // The next one does not follow it; the last one is caught by the checkpoint.
            Some(rows.get(at + 1).map_or(rows[at].seal.seq, |next| next.seal.seq))
        }
        Touch::Drop(at) => Some(rows.remove(at % len).seal.seq),
        Touch::Swap(one, other) => {
            let (one, other) = ((one % len).min(other % len), (one % len).max(other % len));
            if one == other {
                return None;
            }
            rows.swap(one, other);
            Some(i64::try_from(one).unwrap() + 1)
        }
        Touch::Repeat(at) => {
            let row = rows[at % len].clone();
            let seq = row.seal.seq;
            rows.push(row);
            Some(seq)
        }
        Touch::Insert(at) => {
            let at = at % (len + 1);
            let before = if at == 0 { Anchor::GENESIS } else { rows[at - 1].seal.anchor() };
            let record = AuditRecord { target: "put in".to_owned(), ..rows[0].record.clone() };
            rows.insert(at, Sealed { seal: Seal::after(before, &record), record });
            // Beyond the end it is the checkpoint's owner who sees it: it comes with the next one.
            (at < len).then_some(before.seq + 1)
        }
        Touch::Cut(at) => {
            rows.truncate(at % len);
            Some(i64::try_from(at % len).unwrap() + 1)
        }
    }
}

proptest! {
    #[test]
    fn whatever_is_done_to_a_chain_is_found_and_named(
        targets in prop::collection::vec("[a-z]{0,8}", 1..20),
        how in touches(),
    ) {
        let whole = chain(&targets);
        let head = whole.last().map(|row| row.seal.anchor());
        prop_assert!(verify(&whole, head).intact);
        let mut touched = whole.clone();
        let Some(seq) = touch(&mut touched, &how) else { return Ok(()) };
        prop_assert_ne!(&touched, &whole);
        let verdict = verify(&touched, head);
        prop_assert!(!verdict.intact, "{:?} was not found", how);
        let named = verdict.findings.iter().any(|f| (f.seq..=f.to_seq.unwrap_or(f.seq)).contains(&seq));
        prop_assert!(named, "{:?}: record {} is not named by {:?}", how, seq, verdict.findings);
    }
}
