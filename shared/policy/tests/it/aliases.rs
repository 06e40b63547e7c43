//! Whoever comes from another scanner finds its checks here.

use std::collections::BTreeSet;

use crate::cases::shipped;

/// The checks of checkov and Trivy that the pack for Terraform stands in for.
const CHECKS: &str = "
    CKV_AWS_20 CKV_AWS_57 CKV_AWS_53 CKV_AWS_54 CKV_AWS_55 CKV_AWS_56 CKV_AWS_70 CKV2_AWS_6
    CKV_AWS_19 CKV_AWS_145 AWS-0092 AWS-0086 AWS-0087 AWS-0091 AWS-0093 AWS-0088 AWS-0132
    CKV_AWS_24 CKV_AWS_25 CKV_AWS_260 CKV_AWS_277 CKV_AWS_382 CKV_AWS_88 AWS-0107 AWS-0104
    CKV_AWS_62 CKV_AWS_63 CKV_AWS_355 CKV_AWS_286 CKV_AWS_61 CKV_AWS_40 AWS-0057
    CKV_AWS_16 CKV_AWS_17 CKV_AWS_293 CKV_AWS_133 CKV_AWS_3 CKV_AWS_8 CKV_AWS_42 CKV_AWS_28
    CKV_AWS_119 CKV_AWS_29 CKV_AWS_30 CKV_AWS_31 AWS-0080 AWS-0180 AWS-0026 AWS-0131 AWS-0037
    AWS-0045 AWS-0051 CKV_AWS_79 CKV_AWS_46 CKV_AWS_41 CKV_AWS_45 AWS-0028 AWS-0029
    CKV_AWS_7 CKV_AWS_33 CKV_AWS_26 CKV_AWS_27 CKV_AWS_35 CKV_AWS_36 CKV_AWS_67 CKV_AWS_51
    CKV_AWS_163 CKV_AWS_32 CKV_AWS_2 CKV_AWS_103 AWS-0065 AWS-0015 AWS-0016 AWS-0014 AWS-0054
    CKV_AWS_38 CKV_AWS_39 CKV_AWS_58 CKV_AWS_37 AWS-0040 AWS-0041 AWS-0039
    CKV_GCP_2 CKV_GCP_3 CKV_GCP_6 CKV_GCP_28 CKV_GCP_29 CKV_AZURE_9 CKV_AZURE_10 CKV_AZURE_34
    CKV_NCP_2 CKV_NCP_4 CKV_NCP_5 CKV_NCP_6 CKV_NCP_8";

#[test]
fn every_check_has_a_rule() {
    let engine = shipped();
    let aliases: BTreeSet<&str> =
        engine.rules().values().flat_map(|info| info.aliases.iter().map(String::as_str)).collect();
    let missing: Vec<&str> =
        CHECKS.split_whitespace().filter(|check| !aliases.contains(check)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn trivys_checks_go_by_both_of_their_names() {
    for (id, info) in shipped().rules() {
        for alias in &info.aliases {
            if let Some(short) = alias.strip_prefix("AVD-") {
                assert!(info.aliases.iter().any(|a| a == short), "{id}: {alias}");
            }
        }
    }
}
