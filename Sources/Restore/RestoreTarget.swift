package import Metadata
package import ObjectStore
package import ThawCore
package import Wire

/// What is to be restored: one version of one object, and what its class allows.
package struct RestoreTarget: Sendable {
    package var key: ObjectKey
    package var version: String?
    package var record: ObjectRecord
    package var rules: ArchiveRules
    /// The record is no older than this: what was learned since may be unknown to it. Nil: it is the latest.
    package var seenAt: ContinuousClock.Instant?

    package init(
        key: ObjectKey, version: String?, record: ObjectRecord, rules: ArchiveRules,
        seenAt: ContinuousClock.Instant? = nil
    ) {
        self.seenAt = seenAt
        self.key = key
        self.version = version
        self.record = record
        self.rules = rules
    }
}

/// Who asks for a restore, as people are told.
package struct Requester: Sendable {
    package var origin: RestoreOrigin
    /// `cat[123] uid 0`
    package var name: String

    package init(_ origin: RestoreOrigin, _ name: String) {
        self.origin = origin
        self.name = name
    }
}

/// How long to stay after asking.
package enum RestorePatience: Sendable {
    /// Until the provider has taken the request, or has refused it.
    case submission
    /// Until the object is readable, or until then.
    case copy(until: ContinuousClock.Instant?)
}

package enum RestoreAnswer: Sendable {
    case readable
    case underWay
}

/// What a wish is about: an object, the objects right below a prefix, or everything below one.
package struct RestoreScope: Sendable {
    package typealias Kind = ScopeRow.Kind

    package var kind: Kind
    package var key: ObjectKey
    package var version: String?

    package init(_ kind: Kind, _ key: ObjectKey, version: String? = nil) {
        self.kind = kind
        self.key = key
        self.version = version
    }

    /// One object, or everything below a prefix.
    package init(key: ObjectKey, version: String?, isTree: Bool) {
        self.init(isTree ? .tree : .object, key, version: version)
    }
}
