use proptest::prelude::*;

use super::*;

fn roles() -> impl Strategy<Value = BTreeSet<Role>> {
    prop::collection::btree_set(prop::sample::select(Role::ALL.to_vec()), 0..4)
}

fn scopes() -> impl Strategy<Value = BTreeSet<Scope>> {
    prop::collection::btree_set(prop::sample::select(Scope::ALL.to_vec()), 0..Scope::ALL.len())
}

const PROJECTS: [&str; 3] = ["shop", "bank", "mill"];

fn grants() -> impl Strategy<Value = Grants> {
    let projects =
        prop::collection::btree_map(prop::sample::select(PROJECTS.to_vec()), roles(), 0..3);
    (roles(), projects).prop_map(|(house, projects)| {
        let of = projects.iter().map(|(project, roles)| (Some(*project), roles));
        Grants::of(of.chain([(None, &house)]))
    })
}

/// Whether `few` lets nobody do or be anything that `all` does not.
fn is_within(few: &Grants, all: &Grants) -> bool {
    let house = few.house.scopes.is_subset(&all.house.scopes);
    house
        && PROJECTS.iter().chain(&["unheard-of"]).all(|project| {
            let stands = |grants: &Grants, wanted: Role| {
                grants.roles_in(project).iter().any(|role| role.stands_for(wanted))
            };
            few.scopes_in(project).is_subset(&all.scopes_in(project))
                && Role::ALL.iter().all(|role| !stands(few, *role) || stands(all, *role))
                && (!few.sees(project) || all.sees(project))
        })
}

proptest! {
    #[test]
    fn a_token_never_has_more_than_whoever_it_is_of(
        all in grants(), scopes in scopes(), project in prop::option::of(0..4usize),
    ) {
        let project = project.map(|n| PROJECTS.get(n).copied().unwrap_or("unheard-of"));
        let few = all.narrowed(&scopes, project);
        prop_assert!(is_within(&few, &all), "{few:?} of {all:?}");
        for named in PROJECTS.iter().chain(&["unheard-of"]) {
            let held = few.scopes_in(named);
            prop_assert!(held.is_subset(&scopes));
            if project.is_some_and(|only| only != *named) {
                prop_assert!(!few.sees(named) && few.roles_in(named).is_empty());
            }
            // Nothing that it was given is lost where it counts.
            for scope in scopes.iter().filter(|scope| !scope.is_of_house()) {
                let wanted = all.may_in(named, *scope) && project.is_none_or(|only| only == *named);
                prop_assert_eq!(held.contains(scope), wanted);
            }
        }
        if project.is_some() {
            prop_assert_eq!(&few.house, &Hold::default());
        }
    }

    #[test]
    fn narrowing_twice_is_narrowing_by_both(all in grants(), a in scopes(), b in scopes()) {
        let both = a.intersection(&b).copied().collect();
        prop_assert_eq!(all.narrowed(&a, None).narrowed(&a, None), all.narrowed(&a, None));
        let twice = all.narrowed(&a, None).narrowed(&b, None);
        let once = all.narrowed(&both, None);
        prop_assert!(is_within(&twice, &once) && is_within(&twice, &all));
    }

    #[test]
    fn where_something_may_be_done_it_may_be_done(all in grants()) {
        for scope in Scope::ALL {
            match all.reach(*scope) {
                Reach::Everywhere => prop_assert!(all.may_in("unheard-of", *scope)),
                Reach::Projects(names) => {
                    for project in PROJECTS {
                        prop_assert_eq!(names.contains(project), all.may_in(project, *scope));
                    }
                    prop_assert_eq!(all.may_somewhere(*scope), !names.is_empty());
                }
            }
        }
    }
}

fn member(project: Option<&str>, roles: &[Role]) -> Grants {
    Grants::of([(project, &roles.iter().copied().collect())])
}

#[test]
fn a_token_that_may_not_approve_speaks_for_no_approver() {
    let approver = member(Some("shop"), &[Role::Approver]);
    let reads = approver.narrowed(&[Scope::DeploymentsRead].into(), None);
    assert_eq!(reads.roles_in("shop"), [].into());
    let decides = approver.narrowed(&[Scope::DeploymentsApprove].into(), None);
    assert_eq!(decides.roles_in("shop"), [Role::Approver].into());
}

#[test]
fn an_admins_token_speaks_for_as_much_as_it_may_do() {
    let admin = member(None, &[Role::Admin]);
    let decides = admin.narrowed(&[Scope::DeploymentsApprove].into(), Some("shop"));
    assert_eq!(decides.roles_in("shop"), [Role::Approver].into());
    assert!(decides.roles_in("bank").is_empty());
    let whole = admin.narrowed(&Scope::ALL.iter().copied().collect(), None);
    assert!(whole.roles_in("bank").contains(&Role::Admin));
}

#[test]
fn rights_over_the_house_come_from_no_project() {
    let admin = member(Some("shop"), &[Role::Admin]);
    assert!(
        !admin.may_somewhere(Scope::AdminAccounts) && !admin.may_somewhere(Scope::TemplatesWrite)
    );
    assert!(
        admin.may_in("shop", Scope::AdminProjects) && !admin.may_in("bank", Scope::AdminProjects)
    );
    let house = member(None, &[Role::Admin]);
    assert!(house.house.scopes.contains(&Scope::AdminAccounts));
    // A token that is for one project gives nothing over the house, whosever it is.
    let bound = house.narrowed(&Scope::ALL.iter().copied().collect(), Some("shop"));
    assert!(!bound.may_somewhere(Scope::AdminAccounts));
}

#[test]
fn each_role_has_what_makes_it_and_keeps_apart_what_is_apart() {
    for role in Role::ALL {
        assert!(role.scopes().contains(&role.mark()), "{role}");
        let marked = |other: &Role| *other != role && other.scopes().contains(&role.mark());
        let wider: Vec<_> = Role::ALL.into_iter().filter(marked).collect();
        assert!(wider.contains(&Role::Admin) || role == Role::Admin, "{role}: {wider:?}");
    }
    let secret = [Scope::SecretsReveal, Scope::StateRead];
    for role in [Role::Viewer, Role::Developer, Role::Approver] {
        assert!(role.scopes().is_disjoint(&secret.into()), "{role}");
    }
    // Who submits does not decide, who decides does not submit, and neither sets what it takes.
    assert!(!Role::Approver.scopes().contains(&Scope::DeploymentsWrite));
    for role in [Role::Developer, Role::Operator] {
        assert!(!role.scopes().contains(&Scope::DeploymentsApprove), "{role}");
    }
    for scope in
        [Scope::GatesWrite, Scope::PoliciesWrite, Scope::AdminProjects, Scope::AdminAccounts]
    {
        let have: Vec<_> =
            Role::ALL.into_iter().filter(|role| role.scopes().contains(&scope)).collect();
        assert_eq!(have, [Role::Admin], "{scope}");
    }
}

#[test]
fn who_holds_nothing_in_a_project_does_not_learn_of_it() {
    let actor = Principal::local(Door::Rest).actor;
    let who = Principal::new(actor, member(Some("shop"), &[Role::Viewer]));
    let ask = |project, scope| who.need_in(project, scope, || Fault::not_found("deployment", 7));
    assert!(ask("shop", Scope::DeploymentsRead).is_ok());
    let few = ask("shop", Scope::DeploymentsWrite).unwrap_err();
    assert_eq!(few.code, Code::Forbidden);
    assert!(few.detail.contains("deployments:write in shop"), "{few}");
    assert_eq!(ask("bank", Scope::DeploymentsRead).unwrap_err().code, Code::NotFound);
}
