//! The rules of sysvipc(7).
use coracle_sysv::{Permission, READ, Subject, WRITE};

const fn user(uid: u32, gid: u32) -> Subject<'static> {
    Subject { uid, gid, groups: &[], may_access: false, may_control: false }
}

#[test]
fn the_first_class_that_fits_decides() {
    let owner = user(1, 10);
    let mut permission = Permission::new(5, &owner, 0o1046);
    assert_eq!((permission.key, permission.mode), (5, 0o046));
    assert!(!permission.allows(&owner, READ));
    assert!(permission.allows(&user(2, 10), READ) && !permission.allows(&user(2, 10), WRITE));
    assert!(permission.allows(&user(2, 11), READ | WRITE));
    assert!(permission.allows(&Subject { groups: &[10], ..user(2, 11) }, READ));
    assert!(!permission.allows(&Subject { groups: &[10], ..user(2, 11) }, WRITE));
    assert!(permission.allows(&Subject { may_access: true, ..owner }, READ | WRITE));
    // Another owner: the creator keeps the rights of an owner.
    permission.change(3, 30, 0o7600);
    assert_eq!(permission.mode, 0o600);
    assert!(permission.allows(&owner, READ | WRITE) && permission.allows(&user(3, 0), READ | WRITE));
    assert!(!permission.allows(&user(2, 30), READ));
    assert!(permission.is_controlled_by(&owner) && permission.is_controlled_by(&user(3, 0)));
    assert!(!permission.is_controlled_by(&user(2, 10)));
    assert!(permission.is_controlled_by(&Subject { may_control: true, ..user(2, 10) }));
}

#[test]
fn what_any_class_of_the_flags_wants_is_asked_for() {
    let permission = Permission::new(5, &user(1, 10), 0o640);
    assert!(permission.allows_flags(&user(1, 10), 0o600));
    assert!(permission.allows_flags(&user(2, 10), 0o444) && !permission.allows_flags(&user(2, 10), 0o600));
    assert!(permission.allows_flags(&user(2, 11), 0) && !permission.allows_flags(&user(2, 11), 0o400));
}
