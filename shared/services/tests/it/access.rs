//! Projects and rights where engines matter: a project is there before its first stack, and rounds
//! that many share judge each one by itself.

use slipway_domain::access::{Door, Grants, Principal, Role, Scope};
use slipway_domain::fault::Code;
use slipway_domain::id::{AccountId, RandomMint};
use slipway_domain::member::MemberRoles;
use slipway_domain::page::NamedPageRequest;
use slipway_services::auth::account::{self, NewAccount};
use slipway_services::gate::Precondition;
use slipway_services::{deployment, member, project};

use crate::rig::{Rig, code, on_both_engines};

on_both_engines! {
    a_round_makes_projects_for_who_may_and_refuses_the_others,
    a_project_that_is_removed_takes_no_stack,
    a_member_may_what_the_project_gives_and_no_more,
    nobody_who_is_not_there_is_a_member,
    two_admins_who_unmake_each_other_leave_one,
}

fn somebody(id: &str, grants: Grants) -> Principal {
    let mut who = Principal::local(Door::Rest);
    id.clone_into(&mut who.actor.id);
    who.grants = grants;
    who
}

fn in_house(role: Role) -> Principal {
    somebody(role.as_str(), Grants::of([(None, &[role].into())]))
}

async fn a_round_makes_projects_for_who_may_and_refuses_the_others(rig: Rig) {
    let (founder, guest) = (in_house(Role::Admin), in_house(Role::Developer));
    let mut asked = Vec::new();
    for number in 0..24 {
        let mut request = rig.request(&format!("s{number}")).await;
        // Some projects have a founder in the same round, some have none.
        request.stack.project = format!("p{}", number % 6);
        let who = if number % 6 < 3 && number < 12 { &founder } else { &guest };
        asked.push((who.clone(), request));
    }
    let calls = asked.iter().map(|(who, request)| {
        let cx = &rig.cx;
        async move { (request, who, deployment::submit(cx, who, request.clone(), None).await) }
    });
    for (request, who, answer) in futures::future::join_all(calls).await {
        let founded = ["p0", "p1", "p2"].contains(&request.stack.project.as_str());
        match answer {
            Ok(accepted) => {
                assert!(founded);
                assert_eq!(accepted.deployment.stack, request.stack);
            }
            Err(fault) => {
                assert_ne!(who.actor.id, "admin", "{fault}");
                assert_eq!(fault.code, Code::NotFound, "{fault}");
                let project = &request.stack.project;
                assert_eq!(fault.detail, format!("There is no project {project}."));
            }
        }
    }
    let all = project::list(&rig.cx, &founder, &NamedPageRequest::default()).await.unwrap();
    let names: Vec<_> = all.items.iter().map(|project| project.name.as_str()).collect();
    assert_eq!(names, ["p0", "p1", "p2"]);
    let mut tx = rig.cx.store.read().await.unwrap();
    for name in names {
        let audit = tx.audit_of(name).await.unwrap();
        assert_eq!(audit, [("project.create".to_owned(), "allowed".to_owned())], "{name}");
    }
}

async fn a_project_that_is_removed_takes_no_stack(rig: Rig) {
    let guest = in_house(Role::Developer);
    for _ in 0..5 {
        let new = slipway_domain::project::NewProject { name: "mill".into(), description: None };
        project::create(&rig.cx, &rig.who, new, None).await.unwrap();
        let mut request = rig.request("net").await;
        request.stack.project = "mill".into();
        let (removed, submitted) = tokio::join!(
            project::remove(&rig.cx, &rig.who, "mill", Precondition::Any),
            deployment::submit(&rig.cx, &guest, request, None),
        );
        let there = project::get(&rig.cx, &rig.who, "mill").await;
        match (removed, submitted) {
            (Ok(()), Err(fault)) => {
                assert_eq!(fault.code, Code::NotFound);
                assert_eq!(code(there), Code::NotFound);
            }
            (Err(fault), Ok(_)) => {
                assert_eq!(fault.code, Code::ProjectInUse);
                there.unwrap();
                return;
            }
            both => panic!("{both:?}"),
        }
    }
}

async fn account_of(rig: &Rig, name: &str) -> AccountId {
    let new = NewAccount::Service { name: name.to_owned(), email: None };
    account::create(&rig.cx, &rig.who, &new).await.unwrap().id
}

async fn a_member_may_what_the_project_gives_and_no_more(rig: Rig) {
    let id = rig.submit("net").await;
    let account = account_of(&rig, "ann").await;
    let grants = async || {
        let mut tx = rig.cx.store.read().await.unwrap();
        member::grants(&mut tx, account).await.unwrap()
    };
    let stranger = somebody("ann", grants().await);
    let get = async |who: &Principal| deployment::get(&rig.cx, who, id).await;
    assert_eq!(code(get(&stranger).await), Code::NotFound);
    let roles = MemberRoles { roles: [Role::Viewer].into() };
    let set = member::set(&rig.cx, &rig.who, Some("shop"), account, roles, Precondition::New);
    set.await.unwrap();
    let viewer = somebody("ann", grants().await);
    // Those who look at the same time share a statement, and nothing else.
    let (seen, hidden, local) = tokio::join!(get(&viewer), get(&stranger), get(&rig.who));
    assert_eq!(seen.unwrap().id, local.unwrap().id);
    assert_eq!(code(hidden), Code::NotFound);
    let stop = deployment::cancel(&rig.cx, &viewer, id, None, false).await;
    assert_eq!(code(stop), Code::Forbidden);
    let none = somebody("ann", viewer.grants.narrowed(&[Scope::DeploymentsRead].into(), Some("x")));
    assert_eq!(code(get(&none).await), Code::NotFound);
}

async fn nobody_who_is_not_there_is_a_member(rig: Rig) {
    rig.submit("net").await;
    let roles = MemberRoles { roles: [Role::Viewer].into() };
    let nobody = AccountId::new(&RandomMint);
    for project in [None, Some("shop")] {
        let set = member::set(&rig.cx, &rig.who, project, nobody, roles.clone(), Precondition::Any);
        let refused = set.await.unwrap_err();
        assert_eq!(refused.code, Code::NotFound);
        assert!(refused.detail.contains(&nobody.to_string()), "{refused:?}");
    }
}

async fn two_admins_who_unmake_each_other_leave_one(rig: Rig) {
    let [ann, bob] = [account_of(&rig, "ann").await, account_of(&rig, "bob").await];
    for account in [ann, bob] {
        let roles = MemberRoles { roles: [Role::Admin].into() };
        member::set(&rig.cx, &rig.who, None, account, roles, Precondition::Any).await.unwrap();
    }
    let remove = |account| member::remove(&rig.cx, &rig.who, None, account, Precondition::Any);
    let (a, b) = tokio::join!(remove(ann), remove(bob));
    assert!(a.is_ok() != b.is_ok(), "{a:?} {b:?}");
    for result in [a, b] {
        assert!(result.is_ok() || code(result) == Code::LastAdmin);
    }
}
