import Filesystem
import Glibc
import HTTP
import Inventory
import Logging
import Mount
import ObjectStore
import Restore
import ThawCore
import Wire

/// What the user got wrong, in a sentence that says what would be right.
struct UsageError: Error, CustomStringConvertible {
    let description: String
    /// Names and what a daemon says may be in it: control characters are masked.
    init(_ description: String) { self.description = description.printableLines }
}

extension StoreConfiguration {
    /// What the user should know of it, if anything.
    var warning: String? {
        guard endpoint.scheme == .http, !endpoint.isNumericOrLocal else { return nil }
        return "endpoint \(endpoint.authority) is asked over http: anybody on the way can read what is read"
    }
}

/// The options of one mount: the command line over the environment over the defaults.
struct MountOptions {
    private var values: [MountOption: (text: String, origin: String)] = [:]

    init(optionLists: [String], environment: [String: String]) throws {
        for option in MountOption.allCases {
            if let text = environment[option.variable] { values[option] = (text, option.variable) }
        }
        for item in optionLists.flatMap({ $0.split(separator: ",") }) {
            let parts = item.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            if MountOption.ignored.contains(parts[0]) || parts[0].hasPrefix("x-") { continue }
            guard let option = MountOption(rawValue: parts[0]) else {
                let known = MountOption.allCases.map(\.rawValue).joined(separator: ", ")
                throw UsageError("option “\(parts[0])” is not known; there are: \(known)")
            }
            guard parts.count == 2 || option.isSwitch else { throw Self.error(option, "", "-o \(parts[0])") }
            // As with mount(8), the last of these two holds.
            if option == .readOnly || option == .readWrite { (values[.readOnly], values[.readWrite]) = (nil, nil) }
            values[option] = (parts.count == 2 ? parts[1] : "true", "-o \(parts[0])")
        }
        for option in MountOption.allCases where option.isSwitch { _ = try isOn(option) }
    }

    private static func error(_ option: MountOption, _ text: String, _ origin: String) -> UsageError {
        UsageError("\(origin)=\(text): expected \(option.expectation)")
    }

    func text(_ option: MountOption) -> String? { values[option]?.text }

    private func parsed<Value>(_ option: MountOption, _ parse: (String) -> Value?) throws -> Value? {
        guard let (text, origin) = values[option] else { return nil }
        guard let value = parse(text) else { throw Self.error(option, text, origin) }
        return value
    }

    func isOn(_ option: MountOption) throws -> Bool? {
        try parsed(option) { text in
            switch text.lowercased() {
            case "true", "yes", "on", "1", "": true
            case "false", "no", "off", "0": false
            default: nil
            }
        }
    }

    // MARK: What they mean

    func storeConfiguration(_ source: Source, environment: [String: String]) throws -> StoreConfiguration {
        let signature = try parsed(.signature) { StoreConfiguration.Signature(rawValue: $0.lowercased()) } ?? .v4
        if signature == .v1, source.dialect != .oss { throw UsageError("signature=v1 is for oss:// only") }
        let addressing = try isOn(.pathStyle).map { $0 ? StoreConfiguration.Addressing.path : .virtualHost }
        return try StoreConfiguration(
            dialect: source.dialect, bucket: source.bucket, endpoint: text(.endpoint), region: text(.region),
            addressing: addressing, signature: signature, serviceInstanceID: text(.serviceInstanceID),
            environment: environment)
    }

    func httpClient() throws -> HTTPClient {
        var configuration = HTTPClient.Configuration()
        if let file = text(.caFile) {
            guard access(file, R_OK) == 0, let path = realpath(file, nil) else {
                throw UsageError("ca_file=\(file): \(errorText(errno))")
            }
            configuration.caFile = String(cString: path)
            free(path)
        }
        return try HTTPClient(configuration: configuration)
    }

    func filesystemConfiguration(_ source: Source) throws -> Filesystem.Configuration {
        var configuration = Filesystem.Configuration()
        configuration.prefix = source.prefix
        configuration.bucket = source.bucket
        if let ttl = try parsed(.metadataTTL, Self.durationOrForever) { configuration.metadataTTL = ttl }
        configuration.frozen = try frozenPolicy()
        configuration.isReadOnly = try isOn(.readOnly) ?? isOn(.readWrite).map { !$0 } ?? false
        configuration.writeBack = try isOn(.writeBack) ?? false
        configuration.storageClass = try storageClass(source.dialect)
        return configuration
    }

    /// The report that the metadata store is to be loaded from.
    func inventory(_ source: Source) throws -> InventoryLocation? {
        try parsed(.inventory) { InventoryLocation($0, in: source.dialect) }
    }

    private func storageClass(_ dialect: Dialect) throws -> StorageClass? {
        guard let (text, origin) = values[.storageClass] else { return nil }
        if dialect == .cos {
            throw UsageError("\(origin)=\(text): IBM COS takes no class for an object; the bucket has one, and lifecycle rules")
        }
        if let known = StorageClass(spelledLike: text, in: dialect) { return known }
        let classes = StorageClass.known(in: dialect).map(\.name).joined(separator: ", ")
        throw UsageError("\(origin)=\(text): \(dialect.rawValue):// has \(classes)")
    }

    private func frozenPolicy() throws -> FrozenPolicy {
        var policy = FrozenPolicy()
        if let behaviour = try parsed(.onFrozen, { FrozenPolicy.Behaviour(rawValue: $0) }) {
            policy.behaviour = behaviour
        }
        if let point = try parsed(.eagainAt, { FrozenPolicy.RefusalPoint(rawValue: $0) }) { policy.eagainAt = point }
        if let wait = try parsed(.restoreWait, Self.durationOrForever) { policy.waitMax = wait }
        if let days = try parsed(.restoreDays, { Int($0).flatMap { $0 > 0 ? $0 : nil } }) { policy.days = days }
        policy.tier = try parsed(.restoreTier) { text in
            RestoreTier.allCases.first { $0.rawValue.lowercased() == text.lowercased() }
        }
        policy.budget = try parsed(.restoreBudget, RestoreBudget.init(parsing:))
        if let denied = try parsed(.restoreDeny, RestoreDenial.init(parsing:)) { policy.denied = denied }
        if let ahead = try parsed(.restoreAhead, RestoreAhead.init(rawValue:)) { policy.ahead = ahead }
        return policy
    }

    private static func durationOrForever(_ text: String) -> Duration?? {
        text == "forever" ? .some(nil) : Units.duration(text).map { .some($0) }
    }

    func ownership() throws -> Ownership {
        let umask = try parsed(.umask) { UInt32($0, radix: 8).flatMap { $0 <= 0o777 ? $0 : nil } }
        return Ownership(
            uid: try parsed(.uid) { UInt32($0) }, gid: try parsed(.gid) { UInt32($0) }, umask: umask, owner: getuid(),
            group: getgid())
    }

    func fuseOptions(_ source: Source) throws -> [String] {
        // Not the kernel's own `ro`: it would refuse `setfattr -n user.thaw.restore` as well.
        let name = source.text.map { $0 == "," || $0 == "\\" ? "\\\($0)" : String($0) }.joined()
        var options = ["fsname=\(name)", "subtype=thawfs", "nosuid", "nodev"]
        if try isOn(.allowOther) ?? false { options += ["allow_other", "default_permissions"] }
        if try isOn(.defaultPermissions) ?? false { options.append("default_permissions") }
        return options
    }

    struct CacheLimits {
        /// How much may be written and not yet stored; what was read has the rest of it.
        let sizeMaxBytes: UInt64
        /// How much of its disk is left to others.
        let keepFreeBytes: UInt64
        let keepsReads: Bool
    }

    func cacheLimits() throws -> CacheLimits {
        let sizeMax = try parsed(.cacheSize) { Units.bytes($0).flatMap { $0 > 0 ? $0 : nil } }
        return CacheLimits(
            sizeMaxBytes: sizeMax ?? 10 << 30, keepFreeBytes: try parsed(.cacheKeepFree, Units.bytes) ?? 1 << 30,
            keepsReads: try isOn(.cache) ?? true)
    }

    func memoryBytes() throws -> Int {
        let bytes = try parsed(.memory) { Units.bytes($0).flatMap { $0 >= 16 << 20 ? $0 : nil } } ?? 128 << 20
        return Int(clamping: bytes)
    }

    func logLevel() throws -> Logger.Level {
        try parsed(.logLevel) { Logger.Level(rawValue: $0.lowercased()) } ?? .info
    }
}
