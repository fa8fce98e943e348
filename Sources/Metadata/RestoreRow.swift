package import ObjectStore
package import ThawCore
package import Wire

/// An object under care: wished for by one request or more, and where it stands. `Schema` says what each column means.
package struct RestoreRow: Sendable, Equatable {
    package enum State: Int64, Sendable {
        case queued, asking, restoring, restored, failed

        /// The object is not settled: something is still to come.
        package var isPending: Bool { rawValue < State.restored.rawValue }
    }

    /// 0 before it is stored.
    package var id: Int64 = 0
    package var key: ObjectKey
    package var version: String?
    package var state: State
    package var storageClass: StorageClass
    package var lane: String
    package var order: RestoreOrder
    /// Days wished for while the restore was under way: the provider takes such a wish only once the copy is there.
    package var moreDays: Int?
    /// Queued or being asked for a faster tier, while the provider works on it with this one.
    package var slowTier: RestoreTier?
    package var sizeBytes: UInt64
    package var etag: String
    /// Part of a tree or a list: whoever is named, or waited for, goes first.
    package var isOneOfMany: Bool
    /// When the provider took the request.
    package var askedAt: Timestamp?
    package var dueAt: Timestamp = .epoch
    /// A readable copy is there until then; `.epoch` when no date was given, nil when there is none.
    package var copyUntil: Timestamp?
    /// What the reads' budget bears for it.
    package var chargedBytes: UInt64 = 0
    package var strikes = 0
    package var error: String?

    /// What asking for it retrieves: nothing of a copy that is to last longer, nor more of what is under way.
    package var retrievedBytes: UInt64 { copyUntil == nil && slowTier == nil ? sizeBytes : 0 }

    package init(
        key: ObjectKey, version: String?, state: State, storageClass: StorageClass, lane: String, order: RestoreOrder,
        sizeBytes: UInt64, etag: String, isOneOfMany: Bool
    ) {
        self.key = key
        self.version = version
        self.state = state
        self.storageClass = storageClass
        self.lane = lane
        self.order = order
        self.sizeBytes = sizeBytes
        self.etag = etag
        self.isOneOfMany = isOneOfMany
    }
}

/// Who asks for a restore.
package enum RestoreOrigin: Int64, Sendable {
    /// A read or an open: it wants the object readable, on whatever terms somebody has asked for it already.
    case reader
    /// Somebody who named the object, or a directory, with days and a tier of their own.
    case command
    /// Nobody yet: neighbours of what a read restores.
    case ahead
}

/// Objects, and their bytes.
package struct Tally: Sendable, Equatable {
    package var objects: Int
    package var bytes: UInt64

    package init(objects: Int = 0, bytes: UInt64 = 0) {
        self.objects = objects
        self.bytes = bytes
    }

    package mutating func add(_ sizeBytes: UInt64) { self = self + Tally(objects: 1, bytes: sizeBytes) }

    /// Of more bytes than can be counted, as many as can. A store may tell of any size.
    package static func + (left: Tally, right: Tally) -> Tally {
        let (bytes, isTooMany) = left.bytes.addingReportingOverflow(right.bytes)
        return Tally(objects: left.objects + right.objects, bytes: isTooMany ? .max : bytes)
    }
}

/// One wish of somebody's, for one object or many.
package struct RequestRow: Sendable {
    package enum Stage: Int64, Sendable {
        /// Its scopes are still being told.
        case described
        /// Its scopes are being looked through for objects.
        case collecting
        /// All its objects are known.
        case collected
        case finished
    }

    /// 0 before it is stored.
    package var id: Int64 = 0
    package var origin: RestoreOrigin
    /// Who, for people.
    package var requester: String
    /// What, for people.
    package var target: String
    package var days: Int?
    package var tier: RestoreTier?
    package var createdAt: Timestamp
    package var finishedAt: Timestamp?
    package var stage: Stage
    package var error: String?
    /// Its scopes could not be looked through to the end.
    package var isIncomplete = false

    package init(
        origin: RestoreOrigin, requester: String, target: String, days: Int?, tier: RestoreTier?, createdAt: Timestamp,
        stage: Stage
    ) {
        self.origin = origin
        self.requester = requester
        self.target = target
        self.days = days
        self.tier = tier
        self.createdAt = createdAt
        self.stage = stage
    }
}

/// What a request is about, before it has been looked through for objects.
package struct ScopeRow: Sendable, Hashable {
    package enum Kind: Int64, Sendable {
        case object
        /// The objects right below a prefix.
        case directory
        /// Everything below a prefix.
        case tree
        /// Nothing below a prefix, though a wider scope has it: that was cancelled.
        case exception
    }

    package var kind: Kind
    /// A prefix, unless it is of one object.
    package var key: ObjectKey
    package var version: String?
    /// The last key that has been taken in.
    package var cursor: ObjectKey?

    package init(kind: Kind, key: ObjectKey, version: String?, cursor: ObjectKey? = nil) {
        self.kind = kind
        self.key = key
        self.version = version
        self.cursor = cursor
    }
}

/// A request with its objects counted by where they stand.
package struct RequestCount: Sendable {
    package var request: RequestRow
    package var states: [RestoreRow.State: Tally]
    package var cancelled: Tally
    /// The slowest of what the provider is at work on, or is still to be asked for, by class and tier.
    package var pending: [PendingKind]

    package struct PendingKind: Sendable {
        package var storageClass: StorageClass
        package var tier: RestoreTier?
        /// Nil when some have not been asked for yet.
        package var lastAskedAt: Timestamp?
    }
}
