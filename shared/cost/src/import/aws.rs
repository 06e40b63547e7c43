//! AWS offer files. Products come first and prices refer to them, in any order, so the file is read
//! twice; what is of no use is never kept.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, NaiveDate, Utc};
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use slipway_domain::cost::Amount;

use super::Basket;
use crate::book::{Origin, Provider, Row};
use crate::error::BookError;

const FORM: &str = "an AWS offer file";

fn wrong(why: impl Into<String>) -> BookError {
    BookError::Form { form: FORM, why: why.into() }
}

/// What is done with each member of an object: its name, and its value, which has not been read yet.
type Take<'t> = &'t mut dyn FnMut(String, &mut dyn Unread) -> Result<(), String>;

/// A value that has not been read yet.
trait Unread {
    fn product(&mut self) -> Result<Product, String>;
    fn terms(&mut self) -> Result<HashMap<String, Term>, String>;
}

struct Next<'m, M> {
    map: &'m mut M,
    read: bool,
}

impl<'de, M: MapAccess<'de>> Next<'_, M> {
    fn value<T: Deserialize<'de>>(&mut self) -> Result<T, String> {
        self.read = true;
        self.map.next_value().map_err(|why| why.to_string())
    }
}

impl<'de, M: MapAccess<'de>> Unread for Next<'_, M> {
    fn product(&mut self) -> Result<Product, String> {
        self.value()
    }
    fn terms(&mut self) -> Result<HashMap<String, Term>, String> {
        self.value()
    }
}

/// Walks down a path of names, and then over an object there, whose members are handed on one by
/// one instead of being kept.
struct Walk<'w> {
    path: &'w [&'w str],
    take: Take<'w>,
    found: &'w mut bool,
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<(), D::Error> {
        d.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<(), M::Error> {
        let Some((name, rest)) = self.path.split_first() else {
            *self.found = true;
            while let Some(key) = map.next_key::<String>()? {
                let mut next = Next { map: &mut map, read: false };
                (self.take)(key, &mut next).map_err(M::Error::custom)?;
                if !next.read {
                    map.next_value::<IgnoredAny>()?;
                }
            }
            return Ok(());
        };
        while let Some(key) = map.next_key::<String>()? {
            if key == *name {
                map.next_value_seed(Walk { path: rest, take: self.take, found: self.found })?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

fn walk(bytes: &[u8], path: &[&str], take: Take<'_>) -> Result<(), BookError> {
    let mut found = false;
    let mut json = serde_json::Deserializer::from_slice(bytes);
    Walk { path, take, found: &mut found }
        .deserialize(&mut json)
        .map_err(|why| wrong(why.to_string()))?;
    json.end().map_err(|why| wrong(why.to_string()))?;
    if found { Ok(()) } else { Err(wrong(format!("it has no `{}`", path.join(".")))) }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Product {
    #[serde(default)]
    product_family: String,
    attributes: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Term {
    price_dimensions: HashMap<String, Dimension>,
    #[serde(default)]
    effective_date: Option<DateTime<Utc>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Dimension {
    unit: String,
    price_per_unit: BTreeMap<String, Amount>,
    #[serde(default)]
    begin_range: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    #[serde(default)]
    offer_code: String,
    #[serde(default)]
    publication_date: Option<DateTime<Utc>>,
}

/// What a product is in the book: key, unit, the vendor's unit, and by how much the price is divided.
struct Wanted {
    key: String,
    region: String,
    unit: &'static str,
}

/// Finds what a product is in the book, or why it is of no use.
fn want(product: &Product) -> Result<Wanted, String> {
    let get = |name: &str| product.attributes.get(name).map_or("", String::as_str);
    let region = get("regionCode");
    // Outposts have the region's code and other prices.
    if !matches!(get("locationType"), "" | "AWS Region" | "AWS Local Zone") {
        return Err("prices outside of regions, e.g. of Outposts".to_owned());
    }
    let family = product.product_family.as_str();
    let usage = get("usagetype");
    let found: Option<(String, &'static str)> = match family {
        "Compute Instance" | "Compute Instance (bare metal)" => {
            let plain = get("operatingSystem") == "Linux"
                && get("tenancy") == "Shared"
                && matches!(get("preInstalledSw"), "NA" | "")
                && matches!(get("capacitystatus"), "Used" | "")
                && matches!(get("marketoption"), "OnDemand" | "");
            plain.then(|| (format!("ec2/linux/{}", get("instanceType")), "hour"))
        }
        "Storage" => match get("volumeApiName") {
            kind @ ("gp2" | "gp3" | "io1" | "io2" | "st1" | "sc1" | "standard") => {
                Some((format!("ebs/{kind}"), "GB-month"))
            }
            _ => None,
        },
        "System Operation" => match (get("group"), get("volumeApiName")) {
            ("EBS IOPS", kind @ ("gp3" | "io1")) => {
                Some((format!("ebs/{kind}/iops"), "IOPS-month"))
            }
            _ => None,
        },
        "Storage Snapshot" => {
            usage.ends_with("EBS:SnapshotUsage").then(|| ("ebs/snapshot".to_owned(), "GB-month"))
        }
        "NAT Gateway" if usage.ends_with("NatGateway-Hours") => {
            Some(("nat/hour".to_owned(), "hour"))
        }
        "NAT Gateway" if usage.ends_with("NatGateway-Bytes") => Some(("nat/gb".to_owned(), "GB")),
        "Load Balancer-Application" | "Load Balancer-Network" | "Load Balancer" => {
            let kind = match family {
                "Load Balancer-Application" => "application",
                "Load Balancer-Network" => "network",
                _ => "classic",
            };
            if usage.ends_with("LoadBalancerUsage") && !usage.contains("TS-") {
                Some((format!("lb/{kind}/hour"), "hour"))
            } else if usage.ends_with("LCUUsage") && !usage.contains("Reserved") {
                Some((format!("lb/{kind}/lcu"), "LCU-hour"))
            } else {
                None
            }
        }
        "Database Instance" => database(&get).map(|key| (key, "hour")),
        "Database Storage" => {
            let kind = match get("volumeType") {
                "General Purpose" => Some("gp2"),
                "General Purpose-GP3" => Some("gp3"),
                "Provisioned IOPS" => Some("io1"),
                "Magnetic" => Some("standard"),
                _ => None,
            };
            match (kind, zones(get("deploymentOption")), get("databaseEngine")) {
                (Some(kind), Some(zones), "Any" | "MySQL") => {
                    Some((format!("rds/storage/{kind}/{zones}"), "GB-month"))
                }
                _ => None,
            }
        }
        "Cache Instance" => (get("cacheEngine") == "Redis")
            .then(|| (format!("elasticache/{}", get("instanceType")), "hour")),
        "Compute" if usage.ends_with("AmazonEKS-Hours:perCluster") => {
            Some(("eks/cluster".to_owned(), "hour"))
        }
        _ => None,
    };
    match found {
        Some((key, unit)) if !region.is_empty() => {
            Ok(Wanted { key, region: region.to_owned(), unit })
        }
        Some(_) => Err("a product without a region".to_owned()),
        None if family.is_empty() => Err("a product without a family".to_owned()),
        None => Err(format!(
            "product family `{}`: no type here is priced by it, or not in this variant",
            family.chars().take(60).collect::<String>()
        )),
    }
}

fn zones(deployment: &str) -> Option<&'static str> {
    match deployment {
        "Single-AZ" => Some("single"),
        "Multi-AZ" => Some("multi"),
        _ => None,
    }
}

fn database<'a>(get: &impl Fn(&str) -> &'a str) -> Option<String> {
    let class = get("instanceType");
    let engine = match get("databaseEngine") {
        "MySQL" => "mysql",
        "PostgreSQL" => "postgres",
        "MariaDB" => "mariadb",
        "Aurora MySQL" | "Aurora PostgreSQL" => {
            let plain = matches!(get("storage"), "EBS Only" | "") && class.starts_with("db.");
            return plain.then(|| format!("aurora/instance/{class}"));
        }
        _ => return None,
    };
    let zones = zones(get("deploymentOption"))?;
    class.starts_with("db.").then(|| format!("rds/{engine}/{zones}/{class}"))
}

/// Whether the vendor's unit is the book's.
fn same_unit(vendor: &str, book: &str) -> bool {
    let vendor = vendor.to_ascii_lowercase();
    match book {
        "hour" => matches!(vendor.as_str(), "hrs" | "hours" | "hour"),
        "LCU-hour" => matches!(vendor.as_str(), "lcu-hrs" | "nlcu-hrs" | "hrs"),
        "GB" => vendor == "gb",
        "GB-month" => matches!(vendor.as_str(), "gb-mo" | "gb-month"),
        "IOPS-month" => vendor == "iops-mo",
        _ => false,
    }
}

pub(super) fn read(bytes: &[u8], basket: &mut Basket) -> Result<(), BookError> {
    let head: Head = serde_json::from_slice(bytes).map_err(|why| wrong(why.to_string()))?;
    let source: Arc<str> = Arc::from(format!(
        "https://pricing.us-east-1.amazonaws.com/offers/v1.0/aws/{}/",
        if head.offer_code.chars().all(|c| c.is_ascii_alphanumeric()) {
            &head.offer_code
        } else {
            ""
        }
    ));
    let day = |at: Option<DateTime<Utc>>| at.map(|at| at.date_naive());
    let published = day(head.publication_date);

    let mut wanted: HashMap<String, Wanted> = HashMap::new();
    let mut skipped = Vec::new();
    let most = basket.bounds.rows;
    let walked = walk(bytes, &["products"], &mut |sku, entry| {
        match want(&entry.product().map_err(|why| format!("product `{sku}`: {why}"))?) {
            Ok(is) => {
                wanted.insert(sku, is);
            }
            Err(reason) => skipped.push(reason),
        }
        // Reasons repeat; they are counted a portion at a time.
        if skipped.len() > 10_000 {
            for reason in skipped.drain(..) {
                basket.skip(reason);
            }
        }
        if wanted.len() > most { Err("too many products".to_owned()) } else { Ok(()) }
    });
    if wanted.len() > most {
        return Err(BookError::TooMany { limit: most });
    }
    walked?;
    for reason in skipped {
        basket.skip(reason);
    }

    let mut fault = None;
    let walked = walk(bytes, &["terms", "OnDemand"], &mut |sku, entry| {
        let Some(is) = wanted.get(&sku) else { return Ok(()) };
        let terms = entry.terms().map_err(|why| format!("terms of `{sku}`: {why}"))?;
        for term in terms.into_values() {
            if let Err(why) = term_row(&sku, is, term, published, &source, basket) {
                fault = Some(why);
                return Err("stopped".to_owned());
            }
        }
        Ok(())
    });
    match fault {
        Some(fault) => Err(fault),
        None => walked,
    }
}

fn term_row(
    sku: &str,
    is: &Wanted,
    term: Term,
    published: Option<NaiveDate>,
    source: &Arc<str>,
    basket: &mut Basket,
) -> Result<(), BookError> {
    let place = format!("SKU {sku} ({})", is.key);
    let nonsense = |why: String| super::nonsense(&place, why);
    if term.price_dimensions.len() > 1 {
        basket.skip("prices in tiers");
        return Ok(());
    }
    let Some(dimension) = term.price_dimensions.into_values().next() else {
        return Err(nonsense("its term has no price".to_owned()));
    };
    if dimension.begin_range.as_deref().is_some_and(|from| from != "0") {
        basket.skip("prices in tiers");
        return Ok(());
    }
    if dimension.unit.is_empty() {
        return Err(nonsense("its unit is missing".to_owned()));
    }
    if !same_unit(&dimension.unit, is.unit) {
        basket.skip(super::other_unit(&dimension.unit, is.unit));
        return Ok(());
    }
    let mut prices = dimension.price_per_unit.into_iter();
    let (Some((currency, price)), None) = (prices.next(), prices.next()) else {
        return Err(nonsense("it must have exactly one price per unit".to_owned()));
    };
    let as_of = published.or(term.effective_date.map(|at| at.date_naive()));
    let row = Row {
        provider: Provider::Aws,
        key: is.key.clone(),
        region: is.region.clone(),
        unit: is.unit.to_owned(),
        price,
        currency,
        source: source.clone(),
        as_of: as_of.unwrap_or(basket.today),
        origin: Origin::Imported,
    };
    basket.take(&place, row)
}
