//! OpenSSL's path validation with a say in which findings are fatal: the one file of this folder with unsafe code.
//!
//! The openssl crate offers neither `X509_STORE_add_crl` nor a verify callback for certificates outside TLS. Both are
//! declared here and wrapped.
#![allow(unsafe_code)]

use std::cell::RefCell;
use std::ffi::c_int;
use std::sync::Arc;

use foreign_types::{ForeignType, ForeignTypeRef};
use openssl::error::ErrorStack;
use openssl::stack::Stack;
use openssl::x509::store::{X509Store, X509StoreBuilder};
use openssl::x509::verify::{X509VerifyFlags, X509VerifyParam};
use openssl::x509::{X509, X509Crl, X509Ref, X509StoreContext, X509StoreContextRef, X509VerifyResult};
use openssl_sys::{X509_CRL, X509_STORE, X509_STORE_CTX};

use crate::revocation::issuer;

/// Intermediates a path may have: with the leaf and the root as many certificates as a journal entry holds.
const MAX_INTERMEDIATES: c_int = 6;

type VerifyCallback = extern "C" fn(c_int, *mut X509_STORE_CTX) -> c_int;

unsafe extern "C" {
    fn X509_STORE_add_crl(store: *mut X509_STORE, crl: *mut X509_CRL) -> c_int;
    fn X509_STORE_CTX_set_verify_cb(ctx: *mut X509_STORE_CTX, callback: Option<VerifyCallback>);
}

/// Something OpenSSL has to say about one certificate of the path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    /// `X509_V_ERR_...`.
    pub(super) code: c_int,
    /// 0 is the leaf.
    pub(super) depth: u32,
    /// One line.
    pub(super) subject: String,
}

impl Finding {
    /// racoon's line: `certificate has expired(10) at depth:0 SubjectName:/C=…`.
    pub(super) fn line(&self) -> String {
        // SAFETY: any number is a valid argument: OpenSSL has words for those it does not know.
        let words = unsafe { X509VerifyResult::from_raw(self.code) }.error_string();
        format!("{words}({}) at depth:{} SubjectName:{}", self.code, self.depth, self.subject)
    }
}

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// Let pass.
    pub(super) tolerated: Vec<Finding>,
    /// The one it ended at.
    pub(super) fatal: Option<Finding>,
    /// Leaf first, trust anchor last.
    pub(super) chain: Vec<X509>,
}

/// Builds and checks the path from `leaf` to one of `anchors` at the time `wall`, with CRLs required for each of its
/// certificates; `tolerate` says which findings do not end it.
pub(super) fn verify(
    leaf: &X509Ref,
    untrusted: &[X509],
    anchors: impl IntoIterator<Item = X509>,
    crls: &[Arc<X509Crl>],
    wall: u64,
    tolerate: fn(c_int) -> bool,
) -> Result<Outcome, ErrorStack> {
    let store = store(anchors, crls, wall)?;
    let mut others = Stack::new()?;
    for certificate in untrusted {
        others.push(certificate.clone())?;
    }
    JUDGEMENT.set(Some(Judgement { tolerate, tolerated: Vec::new(), fatal: None }));
    let verified = X509StoreContext::new()?.init(&store, leaf, &others, |context| {
        // SAFETY: the context is initialised and lives throughout this closure; the callback is a plain function.
        unsafe { X509_STORE_CTX_set_verify_cb(context.as_ptr(), Some(on_finding)) };
        let good = context.verify_cert()?;
        let chain = context.chain().map(|chain| chain.iter().map(ToOwned::to_owned).collect()).unwrap_or_default();
        Ok((good, chain, finding(context)))
    });
    let judgement = JUDGEMENT.take();
    let (good, chain, last) = verified?;
    let (tolerated, fatal) = judgement.map(|judged| (judged.tolerated, judged.fatal)).unwrap_or_default();
    // A refusal that never reached the callback (out of memory) is one all the same.
    let fatal = if good { None } else { Some(fatal.unwrap_or(last)) };
    Ok(Outcome { tolerated, fatal, chain })
}

fn store(anchors: impl IntoIterator<Item = X509>, crls: &[Arc<X509Crl>], wall: u64) -> Result<X509Store, ErrorStack> {
    let mut builder = X509StoreBuilder::new()?;
    for anchor in anchors {
        builder.add_cert(anchor)?;
    }
    let mut parameters = X509VerifyParam::new()?;
    parameters.set_flags(X509VerifyFlags::CRL_CHECK | X509VerifyFlags::CRL_CHECK_ALL)?;
    parameters.set_time(i64::try_from(wall).unwrap_or(i64::MAX));
    parameters.set_depth(MAX_INTERMEDIATES);
    builder.set_param(&parameters)?;
    let store = builder.build();
    for crl in crls {
        // SAFETY: both pointers are to live objects; the store takes a reference of its own to the CRL.
        let added = unsafe { X509_STORE_add_crl(store.as_ptr(), crl.as_ptr()) };
        if added != 1 {
            return Err(ErrorStack::get());
        }
    }
    Ok(store)
}

struct Judgement {
    tolerate: fn(c_int) -> bool,
    tolerated: Vec<Finding>,
    fatal: Option<Finding>,
}

thread_local! {
    /// Verification runs on one thread from begin to end, and never within another.
    static JUDGEMENT: RefCell<Option<Judgement>> = const { RefCell::new(None) };
}

extern "C" fn on_finding(ok: c_int, context: *mut X509_STORE_CTX) -> c_int {
    if ok == 1 {
        return 1;
    }
    // SAFETY: OpenSSL passes the context of the verification under way, which outlives this call; only read.
    let context = unsafe { X509StoreContextRef::from_ptr(context) };
    let finding = finding(context);
    let go_on = JUDGEMENT.try_with(|judgement| {
        let mut judgement = judgement.try_borrow_mut().ok()?;
        let judgement = judgement.as_mut()?;
        if (judgement.tolerate)(finding.code) {
            judgement.tolerated.push(finding);
            Some(())
        } else {
            judgement.fatal.get_or_insert(finding);
            None
        }
    });
    c_int::from(matches!(go_on, Ok(Some(()))))
}

fn finding(context: &X509StoreContextRef) -> Finding {
    Finding {
        code: context.error().as_raw(),
        depth: context.error_depth(),
        subject: context.current_cert().map(issuer::subject_line).unwrap_or_default(),
    }
}
