//! Input that is wrong, each with the word that the operator must read.

use slipway_domain::cost::CostSide;

use super::*;

#[test]
fn a_document_that_is_no_plan_is_refused() {
    let good = serde_json::to_string(&plan_of(&[create("aws_eip.x", &json!({}))], &[])).unwrap();
    let book = Book::shipped().unwrap();
    let said = |document: &str| {
        book.estimate(document.as_bytes(), &CostSettings::default(), today(), Limits::default())
            .unwrap_err()
            .to_string()
    };
    let deep = format!("{}1{}", "[".repeat(5000), "]".repeat(5000));
    for (name, document, word) in [
        ("empty", "", "not a Terraform plan"),
        ("truncated", &good[..good.len() / 2], "EOF"),
        ("another kind of JSON", "[]", "not a Terraform plan"),
        ("no version", "{\"resource_changes\": []}", "format_version"),
        ("a state", "{\"format_version\": \"1.0\", \"values\": {}}", "resource_changes"),
        ("wrong type", "{\"format_version\": \"1.2\", \"resource_changes\": 5}", "invalid type"),
        (
            "no change",
            "{\"format_version\": \"1.2\", \"resource_changes\": [{\"address\": \"a\", \"type\": \"b\"}]}",
            "change",
        ),
        ("text behind it", &format!("{good} x"), "trailing"),
        (
            "deep",
            &format!(
                "{{\"format_version\": \"1.2\", \"resource_changes\": [], \"variables\": {{\"v\": {{\"value\": {deep}}}}}}}"
            ),
            "recursion",
        ),
    ] {
        let text = said(document);
        assert!(text.contains(word), "{name}: {text}");
    }
    assert!(
        book.estimate(good.as_bytes(), &CostSettings::default(), today(), Limits::default())
            .is_ok()
    );
}

#[test]
fn limits_hold() {
    let plan = plan_of(&[create("aws_eip.x", &json!({})), create("aws_eip.y", &json!({}))], &[]);
    let document = serde_json::to_vec(&plan).unwrap();
    let book = Book::shipped().unwrap();
    let with =
        |limits| book.estimate(&document, &CostSettings::default(), today(), limits).unwrap_err();
    assert!(matches!(
        with(Limits { input_bytes: 10, ..Limits::default() }),
        CostError::TooLarge { .. }
    ));
    let few = Limits { lines: 1, ..Limits::default() };
    assert_eq!(with(few), CostError::TooManyLines { limit: 1 });
    assert_eq!(with(Limits { resources: 1, ..Limits::default() }), CostError::TooMany { limit: 1 });
}

#[test]
fn settings_that_are_wrong_are_refused() {
    let plan = plan_of(&[], &[]);
    let wrong = settings(json!({"currency": "dollars"}));
    let said = try_estimate(&plan, &wrong).unwrap_err().to_string();
    assert!(said.contains("/currency"), "{said}");
}

#[test]
fn values_that_make_no_sense_are_listed_and_not_priced() {
    for (after, word) in [
        (json!({"size": -5}), "-5"),
        (json!({"size": 1e30}), "no sense"),
        (json!({"size": "many"}), "another text"),
        (json!({"size": [1]}), "a list"),
        (json!({"size": null}), "not set"),
        (json!({}), "not set"),
        (json!({"size": 10, "type": 5}), "ebs/5"),
        (json!({"size": 10, "type": {"a": 1}}), "an object"),
        (json!({"size": 10, "type": "io1"}), "`iops` is not set"),
    ] {
        let report = estimate(&plan_of(&[create("aws_ebs_volume.x", &after)], &[]));
        assert_eq!(report.unpriced.len(), 1, "{after}");
        assert!(report.unpriced[0].detail.contains(word), "{after}: {}", report.unpriced[0].detail);
        assert!(!report.complete);
    }
}

#[test]
fn costs_that_are_too_large_to_be_one_are_listed() {
    let mut book = Book::shipped().unwrap();
    let row = book.row(crate::Provider::Aws, "ebs/gp2", "us-east-1").unwrap().clone();
    book.overlay([crate::Row { price: amount("1000000"), as_of: today(), ..row }]);
    let document = serde_json::to_vec(&plan_of(
        &[create("aws_ebs_volume.x", &json!({"size": 1_000_000_000}))],
        &[],
    ))
    .unwrap();
    let report =
        book.estimate(&document, &CostSettings::default(), today(), Limits::default()).unwrap();
    assert_eq!(report.monthly_after, Amount::ZERO);
    assert!(report.unpriced[0].detail.contains("too large"), "{:?}", report.unpriced);
}

#[test]
fn a_report_of_infracost_that_is_wrong_is_refused() {
    let good = json!({"version": "0.2", "currency": "USD", "totalMonthlyCost": "10", "summary": {},
        "projects": [{"metadata": {"errors": null}, "pastBreakdown": {"resources": []}, "breakdown": {"resources": [{"name": "aws_instance.x", "monthlyCost": "10", "costComponents": [
            {"name": "a", "unit": "hours", "monthlyQuantity": "730", "price": "0.0137", "monthlyCost": "10"}]}]}}]});
    let read =
        |value: &Value| crate::infracost::read(value.to_string().as_bytes(), Limits::default());
    let report = read(&good).unwrap();
    assert_eq!((report.tool.as_str(), report.monthly_after), ("infracost", amount("10")));
    assert_eq!(report.resources[0].kind, "aws_instance");
    for (pointer, value, word) in [
        ("/version", json!("0.1"), "0.1"),
        ("/currency", json!("dollars"), "currency"),
        ("/totalMonthlyCost", json!("500"), "totalMonthlyCost"),
        ("/projects/0/breakdown/resources/0/monthlyCost", json!("-10"), "negative"),
        ("/projects/0/breakdown/resources/0/monthlyCost", json!("NaN"), "NaN"),
        ("/projects/0/breakdown/resources/0/costComponents/0/price", json!("-1"), "negative"),
        ("/projects", json!(5), "invalid type"),
        ("/projects", json!([]), "no projects"),
        ("/projects/0/metadata", json!({"errors": [{"message": "x"}]}), "an error: x"),
        ("/projects/0/breakdown", Value::Null, "no breakdown"),
        ("/projects/0/pastBreakdown", Value::Null, "no breakdown"),
        ("/summary", Value::Null, "no summary"),
    ] {
        let mut bad = good.clone();
        *bad.pointer_mut(pointer).unwrap() = value;
        let said = read(&bad).unwrap_err().to_string();
        assert!(said.contains(word), "{pointer}: {said}");
    }
}

/// infracost ends with code 0 and a report that costs nothing when it could not do its work: a quota
/// that is used up would be a free pass.
#[test]
fn a_report_of_infracost_that_tells_of_an_error_is_none() {
    let of = |errors: Value| {
        let document = json!({"version": "0.2", "currency": "USD", "totalMonthlyCost": null,
            "projects": [{"metadata": {"type": "error", "errors": errors}, "breakdown": null}]});
        crate::infracost::read(document.to_string().as_bytes(), Limits::default())
    };
    let said = of(json!([{"code": 0, "message": "Quota exceeded\nplease  wait"}])).unwrap_err();
    assert!(said.to_string().contains("an error: Quota exceeded\nplease  wait"), "{said}");
    assert!(of(json!([{}])).is_err(), "also one without a word");
    assert!(of(json!([])).unwrap_err().to_string().contains("no breakdown"));
}

#[test]
fn what_infracost_has_no_price_for_is_not_free() {
    let part = |name: &str| {
        json!({"name": name, "unit": "hours", "monthlyQuantity": "730",
        "price": "0", "monthlyCost": "0", "priceNotFound": true})
    };
    let resources = |parts: &[Value]| {
        json!({"resources": [{"name": "module.a.aws_instance.x", "resourceType": "aws_instance",
            "metadata": {}, "monthlyCost": "0", "costComponents": parts}]})
    };
    let document = json!({"version": "0.2", "currency": "USD", "summary": {}, "projects": [{
        "pastBreakdown": resources(&[part("a"), part("gone")]),
        "breakdown": resources(&[part("a"), part("new")])}]});
    let report =
        crate::infracost::read(document.to_string().as_bytes(), Limits::default()).unwrap();
    assert!(!report.complete);
    let mut gaps: Vec<_> = report.unpriced.iter().map(|g| (g.component.as_str(), g.side)).collect();
    gaps.sort_unstable();
    let (before, after) = (CostSide::Before, CostSide::After);
    assert_eq!(gaps, [("a", after), ("gone", before), ("new", after)]);
    assert!(report.unpriced.iter().all(|gap| gap.kind == "aws_instance"));
}
