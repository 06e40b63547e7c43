//! Price files: from the upload to what a plan costs.

use slipway_domain::Code;
use slipway_domain::access::Scope;
use slipway_domain::job::Queue;
use slipway_domain::plan::Action;
use slipway_domain::price::PriceFormat;
use slipway_services::execution;
use slipway_services::gate::{self, Seen};
use slipway_services::price::{self, ImportPrices};

use crate::rig::{Rig, code, instance_document, on_both_engines, plan_of};

on_both_engines! {
    what_is_imported_is_what_plans_cost_everywhere,
    nonsense_is_refused_whole_with_its_place,
    a_price_file_is_seen_imported_and_removed_within_scopes,
}

const HEAD: &str = "provider,key,region,unit,price,currency,source,as_of\n";

fn csv(price: &str, day: &str) -> ImportPrices {
    let row =
        format!("aws,ec2/linux/m5.large,us-east-1,hour,{price},USD,https://example.com,{day}\n");
    given(&format!("{HEAD}{row}"))
}

fn given(text: &str) -> ImportPrices {
    ImportPrices {
        format: PriceFormat::Csv,
        source: "our contract".to_owned(),
        as_of: None,
        content: text.to_owned().into(),
    }
}

/// What a new m5.large costs a month, by the report of a plan that has just been made.
async fn cost(rig: &Rig, stack: &str) -> String {
    let id = rig.submit(stack).await;
    let (job, lease) = rig.claim(Queue::Plan).await.unwrap();
    execution::begin(&rig.cx, &job, &lease).await.unwrap();
    let mut planned = plan_of(rig.mark(id).await);
    planned.changes[0].action = Action::Create;
    planned.document = instance_document();
    execution::plan_finished(&rig.cx, &job, &lease, planned, &Seen::default()).await.unwrap();
    let report = gate::report(&rig.cx, &rig.who, id).await.unwrap();
    let cost = report.judgement.cost.expect("it was reckoned");
    let line = cost.resources[0].components.iter().find(|c| c.unit == "hour").unwrap();
    line.price.to_string()
}

async fn what_is_imported_is_what_plans_cost_everywhere(mut rig: Rig) {
    let today = rig.cx.now().date_naive();
    let shipped = cost(&rig, "one").await;
    let old = price::import(&rig.cx, &rig.who, csv("0.5", "2001-01-01"), None).await.unwrap();
    assert_eq!((old.answer.taken, old.answer.older), (0, 1));
    assert_eq!(cost(&rig, "two").await, shipped);
    let new = csv("0.25", &today.to_string());
    let new = price::import(&rig.cx, &rig.who, new, Some("k")).await.unwrap();
    assert_eq!((new.answer.taken, new.created, new.replayed), (1, true, false));
    assert_eq!(cost(&rig, "three").await, "0.25");
    // Another process, which has seen none of this.
    rig.cx.gathered = std::sync::Arc::default();
    assert_eq!(cost(&rig, "four").await, "0.25");
    price::remove(&rig.cx, &rig.who, new.answer.file.id, None).await.unwrap();
    assert_eq!(cost(&rig, "five").await, shipped);
}

async fn nonsense_is_refused_whole_with_its_place(rig: Rig) {
    let good = "aws,ec2/linux/m5.large,us-east-1,hour,0.1,USD,https://example.com,2026-01-01\n";
    let line = |price: &str, currency: &str, day: &str| {
        format!("aws,ec2/linux/m5.xlarge,us-east-1,hour,{price},{currency},https://x.y,{day}\n")
    };
    for (bad, field, column) in [
        (line("-1", "USD", "2026-01-01"), "/price", 5),
        (line("cheap", "USD", "2026-01-01"), "/price", 5),
        (line("99999999", "USD", "2026-01-01"), "/price", 5),
        (line("1", "EUR", "2026-01-01"), "/currency", 6),
        (line("1", "USD", "2999-01-01"), "/as_of", 8),
        (line("1", "USD", "soon"), "/as_of", 8),
    ] {
        let text = format!("{HEAD}{good}{bad}");
        let fault = price::import(&rig.cx, &rig.who, given(&text), None).await.unwrap_err();
        let wrong = &fault.errors[0];
        assert_eq!(fault.code, Code::InvalidInput, "{bad}");
        let place = (wrong.pointer.as_str(), wrong.line, wrong.column);
        assert_eq!(place, (field, Some(3), Some(column)), "{bad}: {}", wrong.detail);
    }
    for text in ["", "not, a price file\n1,2\n", HEAD, "{\"Items\": [}"] {
        let refused = price::import(&rig.cx, &rig.who, given(text), None).await;
        assert_eq!(code(refused), Code::InvalidInput, "{text}");
    }
    let json = ImportPrices { format: PriceFormat::AwsOffer, ..given("{\"products\": ") };
    assert_eq!(code(price::import(&rig.cx, &rig.who, json, None).await), Code::InvalidInput);
    assert_eq!(price::list(&rig.cx, &rig.who).await.unwrap(), []);
    let nowhere = ImportPrices { source: " ".to_owned(), ..csv("1", "2026-01-01") };
    assert_eq!(code(price::import(&rig.cx, &rig.who, nowhere, None).await), Code::InvalidInput);
}

async fn a_price_file_is_seen_imported_and_removed_within_scopes(rig: Rig) {
    let mut reader = rig.who.clone();
    reader.grants.house.scopes = [Scope::GatesRead].into();
    let one = csv("0.2", "2026-01-01");
    assert_eq!(code(price::import(&rig.cx, &reader, one.clone(), None).await), Code::Forbidden);
    let kept = price::import(&rig.cx, &rig.who, one.clone(), Some("k")).await.unwrap();
    let id = kept.answer.file.id;
    let again = price::import(&rig.cx, &rig.who, one.clone(), Some("k")).await.unwrap();
    assert!(again.replayed && again.answer == kept.answer);
    let same = price::import(&rig.cx, &rig.who, one, None).await.unwrap();
    assert_eq!((same.created, same.answer.file.id), (false, id));
    assert_eq!(
        price::list(&rig.cx, &reader).await.unwrap(),
        std::slice::from_ref(&kept.answer.file)
    );
    assert_eq!(price::get(&rig.cx, &reader, id).await.unwrap(), kept.answer.file);
    assert_eq!(code(price::remove(&rig.cx, &reader, id, None).await), Code::Forbidden);
    let other = price::remove(&rig.cx, &rig.who, id, Some("sha256:0")).await;
    assert_eq!(code(other), Code::PreconditionFailed);
    let digest = kept.answer.file.digest;
    price::remove(&rig.cx, &rig.who, id, Some(&digest)).await.unwrap();
    assert_eq!(code(price::get(&rig.cx, &reader, id).await), Code::NotFound);
    let audited = rig.audited().await;
    for action in ["price.import", "price.remove"] {
        assert!(audited.iter().any(|entry| entry.contains(action)), "{action}: {audited:?}");
    }
}
