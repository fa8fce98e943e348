package import ObjectStore
package import ThawCore

/// Why what was written is not where it should be.
package enum UploadError: Error, Sendable, Equatable {
    case store(StoreError)
    /// The staging area, or the disk under it, is full.
    case noSpace
    /// The staging file could not be written or read.
    case local(ErrnoError)
    /// Somebody else changed the object since it was opened.
    case conflict(StoreError)
    /// Past what an object can have.
    case tooLarge
    /// What was accepted could not be remembered.
    case notRemembered(String)

    /// Of a request for the object that the file is a change of: it may be another by now, or gone.
    init(ofBase error: StoreError) {
        switch error.kind {
        case .preconditionFailed, .noSuchKey: self = .conflict(error)
        default: self = .store(error)
        }
    }

    init(_ error: ErrnoError) { self = error.isNoSpace ? .noSpace : .local(error) }
}

extension UploadError: CustomStringConvertible {
    package var description: String {
        switch self {
        case .store(let error): error.description
        case .noSpace: "the staging area is full: raise cache_size, or free space under cache_dir"
        case .local(let error): "the staging file: \(error)"
        case .conflict(let error): "somebody else changed the object meanwhile, and is not overwritten: \(error)"
        case .tooLarge: "an object has at most 5 TiB"
        case .notRemembered(let reason): "it cannot be journalled: \(reason)"
        }
    }
}
