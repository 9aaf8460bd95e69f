//! The system's libcrypt and libpam: opened by name when they are needed, so that neither building nor running xfrmd
//! depends on them. With `verify` and `os` the only unsafe code of the programs.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr;

use policy::model::secret::Secret;
use zeroize::Zeroizing;

/// Room that crypt_rn(3) of every libcrypt is content with.
const CRYPT_DATA: usize = 256 * 1024;

/// An open library; never closed, as its code may be in use on another thread.
struct Library {
    handle: *mut c_void,
    name: &'static CStr,
}

impl Library {
    fn open(name: &'static CStr) -> Result<Self, String> {
        // SAFETY: a C string; the library's initialisers are those of the system's own libcrypt or libpam.
        let handle = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
        if handle.is_null() {
            return Err(format!("{} is not installed", name.to_string_lossy()));
        }
        Ok(Self { handle, name })
    }

    fn symbol(&self, name: &CStr) -> Result<*mut c_void, String> {
        // SAFETY: an open library and a C string.
        let symbol = unsafe { libc::dlsym(self.handle, name.as_ptr()) };
        if symbol.is_null() {
            return Err(format!("{} has no {}", self.name.to_string_lossy(), name.to_string_lossy()));
        }
        Ok(symbol)
    }
}

fn c_string(octets: &[u8]) -> Result<Zeroizing<CStringBytes>, String> {
    if octets.contains(&0) {
        return Err("a NUL in the user or the password".to_owned());
    }
    Ok(Zeroizing::new([octets, &[0]].concat()))
}

/// Octets that end with the only NUL among them.
type CStringBytes = Vec<u8>;

/// crypt(3): the hash of `password` with the method and salt of `setting`.
///
/// # Errors
/// No libcrypt, a method that it does not know, or a NUL in the password.
pub fn crypt(password: &[u8], setting: &str) -> Result<String, String> {
    type CryptRn = unsafe extern "C" fn(*const c_char, *const c_char, *mut c_void, c_int) -> *const c_char;
    let library = Library::open(c"libcrypt.so.1").or_else(|_missing| Library::open(c"libcrypt.so.2"))?;
    let symbol = library.symbol(c"crypt_rn")?;
    // SAFETY: crypt_rn(3) of libxcrypt has this type.
    let crypt_rn: CryptRn = unsafe { std::mem::transmute::<*mut c_void, CryptRn>(symbol) };
    let password = c_string(password)?;
    let setting = c_string(setting.as_bytes())?;
    let mut data = Zeroizing::new(vec![0u8; CRYPT_DATA]);
    let size = c_int::try_from(data.len()).unwrap_or(c_int::MAX);
    // SAFETY: both strings end with a NUL, `data` has `size` octets; the result points into it or is null.
    let made = unsafe {
        let made = crypt_rn(password.as_ptr().cast(), setting.as_ptr().cast(), data.as_mut_ptr().cast(), size);
        if made.is_null() { None } else { Some(CStr::from_ptr(made).to_string_lossy().into_owned()) }
    };
    made.filter(|made| !made.starts_with('*')).ok_or_else(|| "the hash is of a method that libcrypt lacks".to_owned())
}

#[repr(C)]
struct PamMessage {
    style: c_int,
    text: *const c_char,
}

#[repr(C)]
struct PamResponse {
    text: *mut c_char,
    code: c_int,
}

#[repr(C)]
struct PamConversation {
    ask: extern "C" fn(c_int, *mut *const PamMessage, *mut *mut PamResponse, *mut c_void) -> c_int,
    data: *mut c_void,
}

const PAM_SUCCESS: c_int = 0;
const PAM_CONV_ERR: c_int = 19;
const PAM_PROMPT_ECHO_OFF: c_int = 1;
const PAM_RHOST: c_int = 4;
const PAM_SILENT: c_int = 0x8000;
const PAM_DISALLOW_NULL_AUTHTOK: c_int = 1;

/// Messages of one call that are answered.
const MOST_MESSAGES: usize = 32;

/// Answers every prompt for something secret with the password, everything else with nothing.
extern "C" fn converse(
    count: c_int,
    messages: *mut *const PamMessage,
    responses: *mut *mut PamResponse,
    password: *mut c_void,
) -> c_int {
    let Some(count) = usize::try_from(count).ok().filter(|count| (1..=MOST_MESSAGES).contains(count)) else {
        return PAM_CONV_ERR;
    };
    if messages.is_null() || responses.is_null() || password.is_null() {
        return PAM_CONV_ERR;
    }
    // SAFETY: libpam gives `count` pointers to messages (Linux-PAM's layout) and takes an array of as many responses
    // from malloc(3), their texts from malloc(3) too; `password` is the C string of `authenticate`, which still runs.
    unsafe {
        let made = libc::calloc(count, size_of::<PamResponse>()).cast::<PamResponse>();
        if made.is_null() {
            return PAM_CONV_ERR;
        }
        for number in 0..count {
            let message = *messages.add(number);
            if !message.is_null() && (*message).style == PAM_PROMPT_ECHO_OFF {
                (*made.add(number)).text = libc::strdup(password.cast::<c_char>());
            }
        }
        *responses = made;
    }
    PAM_SUCCESS
}

/// Authenticates a user by a PAM service, from a remote host, and asks whether the account may be used now.
///
/// # Errors
/// PAM's words, or no libpam.
pub fn authenticate(service: &CStr, user: &str, password: &Secret, from: &str) -> Result<(), String> {
    type Start = unsafe extern "C" fn(*const c_char, *const c_char, *const PamConversation, *mut *mut c_void) -> c_int;
    type Step = unsafe extern "C" fn(*mut c_void, c_int) -> c_int;
    type SetItem = unsafe extern "C" fn(*mut c_void, c_int, *const c_void) -> c_int;
    type Words = unsafe extern "C" fn(*mut c_void, c_int) -> *const c_char;

    let library = Library::open(c"libpam.so.0")?;
    let symbol = |name: &CStr| library.symbol(name);
    // SAFETY: these are the types of Linux-PAM's functions.
    let (start, set_item, verify, account, end, words) = unsafe {
        (
            std::mem::transmute::<*mut c_void, Start>(symbol(c"pam_start")?),
            std::mem::transmute::<*mut c_void, SetItem>(symbol(c"pam_set_item")?),
            std::mem::transmute::<*mut c_void, Step>(symbol(c"pam_authenticate")?),
            std::mem::transmute::<*mut c_void, Step>(symbol(c"pam_acct_mgmt")?),
            std::mem::transmute::<*mut c_void, Step>(symbol(c"pam_end")?),
            std::mem::transmute::<*mut c_void, Words>(symbol(c"pam_strerror")?),
        )
    };
    let mut password = c_string(password.expose())?;
    let user = CString::new(user).map_err(|_nul| "a NUL in the user".to_owned())?;
    let from = CString::new(from).map_err(|_nul| "a NUL in the address".to_owned())?;
    let conversation = PamConversation { ask: converse, data: password.as_mut_ptr().cast() };
    let mut handle: *mut c_void = ptr::null_mut();
    // SAFETY: every pointer is of a value that outlives the calls; the handle is ended exactly once, and not used after.
    unsafe {
        let mut code = start(service.as_ptr(), user.as_ptr(), &raw const conversation, &raw mut handle);
        if code != PAM_SUCCESS || handle.is_null() {
            return Err("PAM does not start".to_owned());
        }
        code = set_item(handle, PAM_RHOST, from.as_ptr().cast());
        if code == PAM_SUCCESS {
            code = verify(handle, PAM_SILENT | PAM_DISALLOW_NULL_AUTHTOK);
        }
        if code == PAM_SUCCESS {
            code = account(handle, PAM_SILENT | PAM_DISALLOW_NULL_AUTHTOK);
        }
        let text = words(handle, code);
        let text = if text.is_null() { String::new() } else { CStr::from_ptr(text).to_string_lossy().into_owned() };
        end(handle, code);
        if code == PAM_SUCCESS { Ok(()) } else { Err(format!("PAM: {text}")) }
    }
}
