//! Price files, good and bad.

use serde_json::{Value, json};

use super::*;
use crate::{Book, Origin};

fn today() -> NaiveDate {
    "2026-01-31".parse().unwrap()
}

fn amount(text: &str) -> Amount {
    Amount::parse(text).unwrap()
}

fn take(format: Format, text: &str) -> Result<Taken, BookError> {
    read(format, text.as_bytes(), today(), Bounds::default())
}

fn offer() -> Value {
    let product = |family: &str, attributes: Value| json!({"sku": "x", "productFamily": family, "attributes": attributes});
    let term = |unit: &str, price: &str| {
        json!({"T.1": {"offerTermCode": "T", "effectiveDate": "2026-01-01T00:00:00Z", "priceDimensions": {
            "T.1.2": {"unit": unit, "beginRange": "0", "endRange": "Inf", "pricePerUnit": {"USD": price}}}}})
    };
    let ec2 = |tenancy: &str, system: &str| {
        json!({"instanceType": "m5.large", "operatingSystem": system, "tenancy": tenancy, "preInstalledSw": "NA",
               "capacitystatus": "Used", "regionCode": "us-east-1", "usagetype": "BoxUsage:m5.large"})
    };
    json!({
        "formatVersion": "v1.0", "offerCode": "AmazonEC2", "publicationDate": "2026-01-10T00:00:00Z",
        "products": {
            "A": product("Compute Instance", ec2("Shared", "Linux")),
            "B": product("Compute Instance", ec2("Dedicated", "Linux")),
            "C": product("Compute Instance", ec2("Shared", "Windows")),
            "D": product("Storage", json!({"volumeApiName": "gp3", "regionCode": "us-east-1", "usagetype": "EBS:VolumeUsage.gp3"})),
            "E": product("NAT Gateway", json!({"regionCode": "us-east-1", "usagetype": "NatGateway-Hours"})),
            "F": product("Database Instance", json!({"regionCode": "eu-west-1", "databaseEngine": "PostgreSQL",
                "deploymentOption": "Multi-AZ", "instanceType": "db.m5.large"})),
            "G": product("IP Address", json!({"regionCode": "us-east-1"})),
            "H": product("NAT Gateway", json!({"regionCode": "us-east-1", "usagetype": "NatGateway-Bytes"})),
        },
        "terms": {
            "OnDemand": {
                "A": term("Hrs", "0.0990000000"), "B": term("Hrs", "9"), "C": term("Hrs", "8"),
                "D": term("GB-Mo", "0.08"), "E": term("Hrs", "0.045"), "F": term("Hrs", "0.392"), "H": term("GB", "0"),
            },
            "Reserved": {"A": term("Hrs", "0.01")},
        },
    })
}

fn azure() -> Value {
    let item = |sku: &str, product: &str, meter: &str, price: f64| {
        json!({"currencyCode": "USD", "tierMinimumUnits": 0.0, "retailPrice": price, "unitPrice": price,
               "armRegionName": "koreacentral", "effectiveStartDate": "2025-12-01T00:00:00Z", "meterName": meter,
               "productName": product, "skuName": meter, "serviceName": "Virtual Machines",
               "unitOfMeasure": "1 Hour", "type": "Consumption", "armSkuName": sku, "skuId": "DZH"})
    };
    let mut disk = item("", "Premium SSD Managed Disks", "P10 LRS Disk", 21.5);
    disk["serviceName"] = json!("Storage");
    disk["skuName"] = json!("P10 LRS");
    disk["unitOfMeasure"] = json!("1/Month");
    json!({"BillingCurrency": "USD", "Items": [
        item("Standard_D2s_v5", "Virtual Machines Dsv5 Series", "D2s v5", 0.118),
        item("Standard_D2s_v5", "Virtual Machines Dsv5 Series Windows", "D2s v5", 0.21),
        item("Standard_D2s_v5", "Virtual Machines Dsv5 Series", "D2s v5 Spot", 0.01),
        disk,
    ], "Count": 4})
}

fn gcp() -> Value {
    let sku = |description: &str, usage: &str, unit: &str, nanos: i64| {
        json!({"skuId": "0001", "description": description, "category": {"usageType": usage},
               "serviceRegions": ["asia-northeast3"], "pricingInfo": [{"effectiveTime": "2026-01-30T00:00:00.1Z",
               "pricingExpression": {"usageUnit": unit, "tieredRates": [
                   {"startUsageAmount": 0, "unitPrice": {"currencyCode": "USD", "units": "0", "nanos": nanos}}]}}]})
    };
    json!({"skus": [
        sku("E2 Instance Core running in Seoul", "OnDemand", "h", 27_982_710),
        sku("E2 Instance Ram running in Seoul", "OnDemand", "GiBy.h", 3_750_690),
        sku("Spot Preemptible E2 Instance Core running in Seoul", "Preemptible", "h", 1),
        sku("SSD backed PD Capacity in Seoul", "OnDemand", "GiBy.mo", 221_000_000),
        sku("Regional SSD backed PD Capacity in Seoul", "OnDemand", "GiBy.mo", 442_000_000),
    ], "nextPageToken": ""})
}

const CSV: &str = "provider,key,region,unit,price,currency,source,as_of\n\
                   # a note\n\
                   aws,nat/hour,us-east-1,hour,0.045,USD,https://example.org,2026-01-01\n\
                   ncp,public-ip/hour,KR,hour,5.6,KRW,\"https://example.org/a,b\",2026-01-01\n";

fn keys(taken: &Taken) -> Vec<(&str, &str, String)> {
    taken.rows.iter().map(|r| (r.key.as_str(), r.region.as_str(), r.price.to_string())).collect()
}

fn row(
    key: &'static str,
    region: &'static str,
    price: &str,
) -> (&'static str, &'static str, String) {
    (key, region, price.to_owned())
}

#[test]
fn an_aws_offer_gives_its_prices_and_says_what_it_skipped() {
    let taken = take(Format::AwsOffer, &offer().to_string()).unwrap();
    assert_eq!(
        keys(&taken),
        [
            row("ebs/gp3", "us-east-1", "0.08"),
            row("ec2/linux/m5.large", "us-east-1", "0.099"),
            row("nat/hour", "us-east-1", "0.045"),
            row("rds/postgres/multi/db.m5.large", "eu-west-1", "0.392"),
        ]
    );
    assert!(
        taken
            .rows
            .iter()
            .all(|r| r.as_of.to_string() == "2026-01-10" && r.origin == Origin::Imported)
    );
    assert!(taken.rows[0].source.ends_with("/AmazonEC2/"));
    assert_eq!(taken.skipped.values().sum::<u64>(), 4, "{:?}", taken.skipped);
}

#[test]
fn terms_before_products_are_read_as_well() {
    let (offer, plain) = (offer(), take(Format::AwsOffer, &offer().to_string()).unwrap());
    let text = format!(
        "{{\"terms\": {}, \"offerCode\": \"AmazonEC2\", \"publicationDate\": \"2026-01-10T00:00:00Z\", \"products\": {}}}",
        offer["terms"], offer["products"]
    );
    assert_eq!(take(Format::AwsOffer, &text).unwrap(), plain);
}

#[test]
fn azure_and_google_give_their_prices() {
    let taken = take(Format::AzureRetail, &azure().to_string()).unwrap();
    assert_eq!(
        keys(&taken),
        [
            row("disk/P10/LRS", "koreacentral", "21.5"),
            row("vm/linux/Standard_D2s_v5", "koreacentral", "0.118"),
            row("vm/windows/Standard_D2s_v5", "koreacentral", "0.21"),
        ]
    );
    let taken = take(Format::GcpSkus, &gcp().to_string()).unwrap();
    assert_eq!(
        keys(&taken),
        [
            row("compute/e2/core", "asia-northeast3", "0.02798271"),
            row("compute/e2/ram", "asia-northeast3", "0.00375069"),
            row("disk/pd-ssd", "asia-northeast3", "0.221"),
        ]
    );
    assert_eq!(taken.skipped.values().sum::<u64>(), 2);
}

#[test]
fn our_own_form_is_read() {
    let taken = take(Format::Csv, CSV).unwrap();
    assert_eq!(
        keys(&taken),
        [row("nat/hour", "us-east-1", "0.045"), row("public-ip/hour", "KR", "5.6")]
    );
    assert_eq!(&*taken.rows[1].source, "https://example.org/a,b");
}

#[test]
fn a_newer_row_wins_and_of_two_of_one_day_the_imported_one() {
    let mut book = Book::shipped().unwrap();
    let price = |book: &Book| book.row(Provider::Aws, "nat/hour", "us-east-1").unwrap().price;
    let at = |day: &str, price: &str| {
        let text = CSV.replace("0.045", price).replace("2026-01-01", day);
        take(Format::Csv, &text).unwrap().rows
    };
    assert_eq!(price(&book), amount("0.045"));
    let done = book.overlay(at("2020-01-01", "0.9"));
    assert_eq!((done.taken, done.older, price(&book)), (0, 2, amount("0.045")));
    book.overlay(at("2024-11-01", "0.046"));
    assert_eq!(price(&book), amount("0.046"), "the same day as the shipped row");
    book.overlay(at("2026-01-01", "0.047"));
    book.overlay(at("2025-01-01", "0.9"));
    assert_eq!(price(&book), amount("0.047"));
}

/// Each is wrong in one place; nothing may be taken and the reason must be said.
#[test]
fn nonsense_is_refused_whole() {
    let set = |mut value: Value, pointer: &str, to: Value| {
        *value.pointer_mut(pointer).unwrap() = to;
        value.to_string()
    };
    let dimension = "/terms/OnDemand/A/T.1/priceDimensions/T.1.2";
    let price = format!("{dimension}/pricePerUnit");
    let full = offer().to_string();
    let azure_text = azure().to_string();
    let expression = "/skus/0/pricingInfo/0/pricingExpression";
    let unit_price = format!("{expression}/tieredRates/0/unitPrice");
    let line =
        |line: &str| format!("provider,key,region,unit,price,currency,source,as_of\n{line}\n");
    for (name, format, text, word) in [
        ("negative", Format::AwsOffer, set(offer(), &price, json!({"USD": "-0.1"})), "negative"),
        ("huge", Format::AwsOffer, set(offer(), &price, json!({"USD": "10000000"})), "too large"),
        (
            "beyond numbers",
            Format::AwsOffer,
            set(offer(), &price, json!({"USD": "1e400"})),
            "not a decimal",
        ),
        ("no number", Format::AwsOffer, set(offer(), &price, json!({"USD": "NaN"})), "NaN"),
        ("other currency", Format::AwsOffer, set(offer(), &price, json!({"CNY": "1"})), "CNY"),
        (
            "two currencies",
            Format::AwsOffer,
            set(offer(), &price, json!({"CNY": "1", "USD": "1"})),
            "exactly one",
        ),
        ("no currency", Format::AwsOffer, set(offer(), &price, json!({})), "exactly one"),
        (
            "price of another type",
            Format::AwsOffer,
            set(offer(), &price, json!("0.1")),
            "invalid type",
        ),
        (
            "no unit",
            Format::AwsOffer,
            set(offer(), dimension, json!({"pricePerUnit": {"USD": "1"}})),
            "unit",
        ),
        (
            "empty unit",
            Format::AwsOffer,
            set(offer(), &format!("{dimension}/unit"), json!("")),
            "unit is missing",
        ),
        (
            "later than today",
            Format::AwsOffer,
            set(offer(), "/publicationDate", json!("2027-01-01T00:00:00Z")),
            "after today",
        ),
        ("truncated", Format::AwsOffer, full[..full.len() - 40].to_owned(), "EOF"),
        ("truncated early", Format::AwsOffer, full[..60].to_owned(), "EOF"),
        ("text behind it", Format::AwsOffer, format!("{full} {{}}"), "trailing"),
        (
            "products of another type",
            Format::AwsOffer,
            set(offer(), "/products", json!([1])),
            "object",
        ),
        ("no terms", Format::AwsOffer, set(offer(), "/terms", json!({})), "terms.OnDemand"),
        ("another vendor's", Format::AwsOffer, azure_text.clone(), "products"),
        ("nothing of use", Format::AwsOffer, set(offer(), "/products", json!({})), "no price"),
        (
            "negative",
            Format::AzureRetail,
            set(azure(), "/Items/0/retailPrice", json!(-1)),
            "negative",
        ),
        (
            "huge",
            Format::AzureRetail,
            set(azure(), "/Items/0/retailPrice", json!(1e9)),
            "too large",
        ),
        (
            "null",
            Format::AzureRetail,
            set(azure(), "/Items/0/retailPrice", json!(null)),
            "invalid type",
        ),
        (
            "no unit",
            Format::AzureRetail,
            set(azure(), "/Items/0/unitOfMeasure", json!(null)),
            "unit is missing",
        ),
        (
            "other currency",
            Format::AzureRetail,
            set(azure(), "/Items/0/currencyCode", json!("EUR")),
            "EUR",
        ),
        ("truncated", Format::AzureRetail, azure_text[..azure_text.len() / 2].to_owned(), "EOF"),
        ("no items", Format::AzureRetail, "{}".to_owned(), "Items"),
        (
            "negative",
            Format::GcpSkus,
            set(gcp(), &format!("{unit_price}/nanos"), json!(-5)),
            "negative",
        ),
        (
            "odd nanos",
            Format::GcpSkus,
            set(gcp(), &format!("{unit_price}/nanos"), json!(5_000_000_000_i64)),
            "nanos",
        ),
        (
            "float",
            Format::GcpSkus,
            set(gcp(), &format!("{unit_price}/nanos"), json!(0.5)),
            "invalid type",
        ),
        (
            "huge",
            Format::GcpSkus,
            set(gcp(), &format!("{unit_price}/units"), json!("99999999")),
            "too large",
        ),
        (
            "no unit",
            Format::GcpSkus,
            set(gcp(), &format!("{expression}/usageUnit"), json!("")),
            "unit is missing",
        ),
        (
            "other currency",
            Format::GcpSkus,
            set(gcp(), &format!("{unit_price}/currencyCode"), json!("KRW")),
            "KRW",
        ),
        ("no price", Format::GcpSkus, set(gcp(), "/skus/0/pricingInfo", json!([])), "no price"),
        (
            "negative",
            Format::Csv,
            line("aws,nat/hour,us-east-1,hour,-1,USD,https://e,2026-01-01"),
            "negative",
        ),
        (
            "infinite",
            Format::Csv,
            line("aws,nat/hour,us-east-1,hour,inf,USD,https://e,2026-01-01"),
            "line 2",
        ),
        (
            "no price",
            Format::Csv,
            line("aws,nat/hour,us-east-1,hour,,USD,https://e,2026-01-01"),
            "no price",
        ),
        (
            "no unit",
            Format::Csv,
            line("aws,nat/hour,us-east-1,,1,USD,https://e,2026-01-01"),
            "unit is missing",
        ),
        (
            "another unit",
            Format::Csv,
            line("aws,nat/hour,us-east-1,month,1,USD,https://e,2026-01-01"),
            "not `hour`",
        ),
        (
            "key of no use",
            Format::Csv,
            line("aws,nut/hour,us-east-1,hour,1,USD,https://e,2026-01-01"),
            "`nut`",
        ),
        ("no source", Format::Csv, line("aws,nat/hour,us-east-1,hour,1,USD,,2026-01-01"), "source"),
        ("no day", Format::Csv, line("aws,nat/hour,us-east-1,hour,1,USD,https://e,soon"), "no day"),
        (
            "other currency",
            Format::Csv,
            line("ncp,nat/hour,KR,hour,1,USD,https://e,2026-01-01"),
            "KRW",
        ),
        (
            "other provider",
            Format::Csv,
            line("oci,nat/hour,KR,hour,1,USD,https://e,2026-01-01"),
            "provider",
        ),
        ("lines of other lengths", Format::Csv, line("aws,nat/hour"), "CSV"),
        (
            "no head",
            Format::Csv,
            "aws,nat/hour,us-east-1,hour,1,USD,https://e,2026-01-01\n".to_owned(),
            "lacks the column",
        ),
        ("empty", Format::Csv, String::new(), "lacks the column"),
        (
            "head alone",
            Format::Csv,
            "provider,key,region,unit,price,currency,source,as_of\n".to_owned(),
            "it is empty",
        ),
        (
            "zero alone",
            Format::Csv,
            line("aws,nat/hour,us-east-1,hour,0,USD,https://e,2026-01-01"),
            "price 0",
        ),
    ] {
        let said = match take(format, &text) {
            Err(said) => said.to_string(),
            Ok(taken) => panic!("{} {name}: took {:?}", format.as_str(), taken.rows),
        };
        assert!(said.contains(word), "{} {name}: {said}", format.as_str());
        assert!(said.len() < 1500, "{name}: {} bytes", said.len());
    }
}

#[test]
fn prices_by_another_unit_or_twice_are_left_out_alone() {
    let mut other = offer();
    other["terms"]["OnDemand"]["A"]["T.1"]["priceDimensions"]["T.1.2"]["unit"] = json!("Quantity");
    let taken = take(Format::AwsOffer, &other.to_string()).unwrap();
    assert_eq!(taken.rows.len(), 3);
    assert_eq!(taken.skipped.get("prices by `Quantity` where `hour` is needed"), Some(&1));

    let mut other = offer();
    other["products"]["A"]["attributes"]["locationType"] = json!("AWS Outposts");
    assert_eq!(take(Format::AwsOffer, &other.to_string()).unwrap().rows.len(), 3);

    let mut other = azure();
    other["Items"][0]["unitOfMeasure"] = json!("100 Hours");
    other["Items"][1]["productName"] = json!("Dsv5 Series");
    other["Items"][2] = other["Items"][1].clone();
    other["Items"][2]["retailPrice"] = json!(5);
    let taken = take(Format::AzureRetail, &other.to_string()).unwrap();
    assert_eq!(keys(&taken), [row("disk/P10/LRS", "koreacentral", "21.5")]);
    assert_eq!(taken.skipped.get(TWICE), Some(&2));
    assert_eq!(taken.skipped.get("prices by `100 Hours` where `1 Hour` is needed"), Some(&1));

    let mut other = gcp();
    other["skus"][0]["pricingInfo"][0]["pricingExpression"]["usageUnit"] = json!("mo");
    assert_eq!(take(Format::GcpSkus, &other.to_string()).unwrap().rows.len(), 2);
}

#[test]
fn bounds_hold() {
    let bounds = Bounds { bytes: 10, rows: 10 };
    assert_eq!(
        read(Format::Csv, CSV.as_bytes(), today(), bounds).unwrap_err(),
        BookError::TooLarge { limit: 10 }
    );
    let bounds = Bounds { bytes: 10_000, rows: 1 };
    for (format, text) in [
        (Format::Csv, CSV.to_owned()),
        (Format::AwsOffer, offer().to_string()),
        (Format::AzureRetail, azure().to_string()),
        (Format::GcpSkus, gcp().to_string()),
    ] {
        assert!(
            matches!(
                read(format, text.as_bytes(), today(), bounds),
                Err(BookError::TooMany { .. })
            ),
            "{format:?}"
        );
    }
    // A stream without an end is given up at the bound.
    let endless = std::io::repeat(b'[');
    let bounds = Bounds { bytes: 1 << 20, rows: 10 };
    assert!(matches!(
        read(Format::GcpSkus, endless, today(), bounds),
        Err(BookError::TooLarge { .. })
    ));
}

#[test]
fn many_products_of_no_use_are_counted_and_not_kept() {
    let products: String = (0..50_000)
        .map(|i| {
            format!(
                "\"P{i}\": {{\"productFamily\": \"Fee {i}\", \"attributes\": {{\"regionCode\": \"x\"}}}},"
            )
        })
        .collect();
    let offer = offer();
    let kept = offer["products"].to_string();
    let text =
        format!("{{\"products\": {{{products}{}, \"terms\": {}}}", &kept[1..], offer["terms"]);
    let taken = take(Format::AwsOffer, &text).unwrap();
    assert_eq!(taken.rows.len(), 4);
    assert!(taken.skipped.len() <= REASONS + 1);
    assert_eq!(taken.skipped.values().sum::<u64>(), 50_004);
}
