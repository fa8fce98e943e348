internal import Filesystem
internal import Glibc

extension FileError {
    /// The one table from what happened to what a program sees.
    var errno: Int32 {
        switch self {
        case .noSuchEntry: ENOENT
        case .isDirectory: EISDIR
        case .notDirectory: ENOTDIR
        case .nameTooLong: ENAMETOOLONG
        // The object changed under an open file: never mixed content, never a silent end of file.
        case .stale: ESTALE
        // From `open`, where every program takes it as an error. From `read` only when asked for: see contract.
        case .frozen: EAGAIN
        // "Object is remote": an error everywhere, and no program retries it.
        case .restoreRefused: EREMOTE
        case .timedOut: ETIMEDOUT
        case .interrupted: EINTR
        case .cancelled: ECANCELED
        case .overBudget: EDQUOT
        case .denied: EACCES
        case .noSuchAttribute: ENODATA
        case .unsupported: EOPNOTSUPP
        case .invalid: EINVAL
        case .notArchived: EOPNOTSUPP
        case .tooSmall: ERANGE
        // What we could not name better; the log has what the store said.
        case .io: EIO
        case .readOnly: EROFS
        case .alreadyExists: EEXIST
        case .notEmpty: ENOTEMPTY
        case .busy: EBUSY
        case .notPermitted: EPERM
        case .noSpace: ENOSPC
        case .tooLarge: EFBIG
        case .tooLongForAttribute: E2BIG
        case .crossesStores: EXDEV
        }
    }
}
