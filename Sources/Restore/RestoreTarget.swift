package import ThawCore
package import Wire

/// What is to be restored: one version of one object, and what its class allows.
package struct RestoreTarget: Sendable {
    package var key: ObjectKey
    package var version: String?
    package var storageClass: StorageClass
    package var rules: ArchiveRules

    package init(key: ObjectKey, version: String?, storageClass: StorageClass, rules: ArchiveRules) {
        self.key = key
        self.version = version
        self.storageClass = storageClass
        self.rules = rules
    }
}

/// Who asks for a restore.
package enum RestoreOrigin: Sendable {
    /// A read or an open: it wants the object readable, on whatever terms somebody has asked for it already.
    case reader
    /// Somebody who named the object, with days and a tier of their own.
    case command
}
