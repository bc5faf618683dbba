//! Who may manage whose login.

use granary_types::UserId;

use super::*;
use crate::{Grant, Invitation, Manager, Place, Principal};

async fn principal(access: &Access, user: NewUser) -> Principal {
    access.create_user(&user).await.unwrap();
    access.log_in(&user.email, &Secret::new(PASSWORD), &Client::default()).await.unwrap().0.principal
}

const fn grant(role: Role) -> Grant {
    Grant { role, granted: None, can_read_billing: false }
}

fn invitation(made: &TwoCustomers, email: &str, role: Role) -> Invitation {
    let customer_id = role.is_customer().then_some(made.acme.id);
    Invitation { email: email.to_owned(), name: "New".to_owned(), msp_id: Some(made.north.id), customer_id, grant: grant(role) }
}

/// An administrator and finance of NORTH, and administrators of ACME, SOUTH and GLOBEX.
async fn people(access: &Access, made: &TwoCustomers) -> [Principal; 5] {
    let south = NewUser { msp_id: Some(made.south.id), ..user("admin@south.example", Role::MspAdmin, made) };
    let globex = NewUser { customer_id: Some(made.globex.id), ..user("gwen@globex.example", Role::CustomerAdmin, made) };
    [
        principal(access, user("admin@north.example", Role::MspAdmin, made)).await,
        principal(access, user("finance@north.example", Role::MspFinance, made)).await,
        principal(access, user("wile@acme.example", Role::CustomerAdmin, made)).await,
        principal(access, south).await,
        principal(access, globex).await,
    ]
}

/// Changes of logins that are written down.
async fn audited(test: &TestDatabase) -> i64 {
    let sql = "select count(*) from control.audit_log where action like 'user.%' and actor like 'user:%' and msp_id is not null";
    test.superuser().await.query_one(sql, &[]).await.unwrap().get(0)
}

#[tokio::test]
async fn people_manage_those_below_them_at_their_own_place_only() {
    let test = TestDatabase::new().await;
    let made = test.two_customers().await;
    let access = Access::new(test.tenants().clone());
    let [admin, finance, wile, south, gwen] = people(&access, &made).await;
    let at_acme = Place { msp: Some(made.north.id), customer: Some(made.acme.id) };
    let at_north = Place { msp: Some(made.north.id), customer: None };
    let viewer = access.invite(Manager::Principal(&wile), &invitation(&made, "viewer@acme.example", Role::CustomerViewer)).await.unwrap();
    assert_eq!(viewer.customer_id, Some(made.acme.id));
    let by_admin = access.invite(Manager::Principal(&admin), &invitation(&made, "ops@north.example", Role::MspOperator)).await.unwrap();

    for (who, actor, invited) in [
        ("a customer gives an MSP's role", &wile, invitation(&made, "x@north.example", Role::MspAnalyst)),
        ("finance gives anything", &finance, invitation(&made, "x@north.example", Role::MspFinance)),
        ("another MSP", &south, invitation(&made, "x@north.example", Role::MspAnalyst)),
        ("another customer", &gwen, invitation(&made, "x@acme.example", Role::CustomerViewer)),
        (
            "margin for a customer",
            &wile,
            Invitation {
                grant: Grant { can_read_billing: true, ..grant(Role::CustomerViewer) },
                ..invitation(&made, "x@acme.example", Role::CustomerViewer)
            },
        ),
        ("the installation", &admin, Invitation { msp_id: None, ..invitation(&made, "x@north.example", Role::OperatorAdmin) }),
        (
            "another MSP's customers",
            &admin,
            Invitation {
                grant: Grant { granted: Some(vec![made.south_acme.id]), ..grant(Role::MspAnalyst) },
                ..invitation(&made, "x@north.example", Role::MspAnalyst)
            },
        ),
    ] {
        assert!(access.invite(Manager::Principal(actor), &invited).await.is_err(), "{who}");
    }
    for (who, actor, at, id) in [
        ("a customer changes the MSP's", &wile, at_north, by_admin.id),
        ("a customer changes the MSP's, calling it its own", &wile, at_acme, by_admin.id),
        ("another customer", &gwen, at_acme, viewer.id),
        ("another MSP", &south, at_acme, viewer.id),
        ("another MSP, calling it its own", &south, Place { msp: Some(made.south.id), customer: None }, by_admin.id),
        ("finance", &finance, at_north, by_admin.id),
        ("oneself", &admin, at_north, admin.user().unwrap()),
        ("nobody", &admin, at_north, UserId::new()),
    ] {
        let manager = Manager::Principal(actor);
        assert!(access.set_role(manager, at, id, &grant(Role::MspAnalyst)).await.is_err(), "{who}: role");
        assert!(access.disable_user(manager, at, id, "because").await.is_err(), "{who}: stop");
        assert!(access.enable_user(manager, at, id).await.is_err(), "{who}: start");
        assert!(access.invite_again(manager, at, id).await.is_err(), "{who}: invite");
    }
    let error = access.set_role(Manager::Principal(&wile), at_acme, viewer.id, &grant(Role::MspAdmin)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied);
    access.set_role(Manager::Principal(&wile), at_acme, viewer.id, &grant(Role::CustomerBilling)).await.unwrap();
    let confined = Grant { granted: Some(vec![made.acme.id]), ..grant(Role::MspOperator) };
    let ops = access.set_role(Manager::Principal(&admin), at_north, by_admin.id, &confined).await.unwrap();
    assert_eq!(ops.granted.as_deref(), Some(&[made.acme.id][..]));
    let counts = [access.list_people(at_acme).await.unwrap().len(), access.list_people(at_north).await.unwrap().len()];
    assert_eq!(counts, [2, 3]);
    assert_eq!(audited(&test).await, 4, "every change, and nothing that was refused");
}

#[tokio::test]
async fn whoever_is_stopped_is_out_at_once_and_stays_out() {
    let test = TestDatabase::new().await;
    let made = test.two_customers().await;
    let access = Access::new(test.tenants().clone());
    let admin = principal(&access, user("admin@north.example", Role::MspAdmin, &made)).await;
    access.create_user(&user("bob@north.example", Role::MspAdmin, &made)).await.unwrap();
    let (session, token) = access.log_in("bob@north.example", &Secret::new(PASSWORD), &Client::default()).await.unwrap();
    let (bob, at) = (session.principal.user().unwrap(), Place { msp: Some(made.north.id), customer: None });
    assert!(access.disable_user(Manager::Principal(&admin), at, bob, " ").await.is_err(), "a reason is needed");
    assert!(access.disable_user(Manager::Principal(&admin), at, bob, "left the company").await.unwrap().is_disabled);
    assert!(access.session(token.reveal()).await.unwrap().is_none());
    // What he had asked for before he was stopped does not come through afterwards.
    let revenge = access.disable_user(Manager::Principal(&session.principal), at, admin.user().unwrap(), "revenge").await.unwrap_err();
    assert_eq!(revenge.kind(), ErrorKind::Unauthenticated);
    assert!(access.log_in("bob@north.example", &Secret::new(PASSWORD), &Client::default()).await.is_err());
    access.enable_user(Manager::Principal(&admin), at, bob).await.unwrap();
    assert!(access.session(token.reveal()).await.unwrap().is_none(), "the old session stays ended");
    access.log_in("bob@north.example", &Secret::new(PASSWORD), &Client::default()).await.unwrap();
}

#[tokio::test]
async fn two_administrators_who_stop_each_other_leave_one() {
    let test = TestDatabase::new().await;
    let made = test.two_customers().await;
    let access = Access::new(test.tenants().clone());
    let at = Place { msp: Some(made.north.id), customer: None };
    for round in 0..5 {
        let ada = principal(&access, user(&format!("ada{round}@north.example"), Role::MspAdmin, &made)).await;
        let bob = principal(&access, user(&format!("bob{round}@north.example"), Role::MspAdmin, &made)).await;
        let (one, other) = futures::future::join(
            access.disable_user(Manager::Principal(&ada), at, bob.user().unwrap(), "first"),
            access.disable_user(Manager::Principal(&bob), at, ada.user().unwrap(), "first"),
        )
        .await;
        assert_eq!([one.is_ok(), other.is_ok()].iter().filter(|done| **done).count(), 1, "round {round}");
    }
}
