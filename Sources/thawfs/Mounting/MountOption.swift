/// The options of a mount, by the one name that `-o name=value`, `--name value` (with dashes) and `THAWFS_NAME` share.
enum MountOption: String, CaseIterable {
    case endpoint, region
    case pathStyle = "path_style"
    case caFile = "ca_file"
    case profile, signature
    case backupEndpoint = "hbr_endpoint"
    case serviceInstanceID = "service_instance_id"
    case readOnly = "ro"
    case readWrite = "rw"
    case allowOther = "allow_other"
    case defaultPermissions = "default_permissions"
    case uid, gid, umask
    case metadataTTL = "metadata_ttl"
    case inventory
    case stateDirectory = "state_dir"
    case memory
    case writeBack = "write_back"
    case storageClass = "storage_class"
    case cache
    case cacheDirectory = "cache_dir"
    case cacheSize = "cache_size"
    case cacheKeepFree = "cache_keep_free"
    case onFrozen = "on_frozen"
    case eagainAt = "eagain_at"
    case restoreWait = "restore_wait"
    case restoreDays = "restore_days"
    case restoreTier = "restore_tier"
    case restoreBudget = "restore_budget"
    case restoreDeny = "restore_deny"
    case restoreAhead = "restore_ahead"
    case log
    case logLevel = "log_level"

    /// What is allowed, as an error message and the help say it.
    var expectation: String {
        switch self {
        case .endpoint:
            "a host or URL, such as oss-cn-hangzhou.aliyuncs.com or http://127.0.0.1:9000; for cos:// also private or direct"
        case .region: "the bucket's region, such as cn-hangzhou, us-east-1 or us-south"
        case .pathStyle: "no value, or true or false: put the bucket into the path instead of the host name"
        case .caFile: "a PEM file of certificate authorities"
        case .profile: "a profile of the vendor's shared credentials file"
        case .backupEndpoint: "where Cloud Backup answers (oss only): a host or URL (default: hbr.REGION.aliyuncs.com)"
        case .signature: "v4 (default) or v1 (OSS only)"
        case .serviceInstanceID: "IBM COS: the instance whose buckets are listed, as CRN or GUID (default: the credentials')"
        case .readOnly, .readWrite, .allowOther, .defaultPermissions: "no value: as mount(8) and FUSE have it"
        case .uid, .gid: "a number"
        case .umask: "an octal number, such as 022: permissions are 0777 without it; default 0644 for files, 0755 for directories"
        case .metadataTTL: "how long metadata is trusted: a duration such as 60s (default) or 5m, or forever"
        case .inventory: "an inventory report of the bucket (CSV), loaded instead of listing: the key of its manifest.json, or a prefix whose newest manifest counts; s3://BUCKET/KEY in another bucket"
        case .stateDirectory: "a directory for the metadata store"
        case .memory: "a ceiling for buffers, such as 128M (default) or 1G"
        case .writeBack: "no value, or on or off (default): close and fsync return once a journal on this machine has what was written"
        case .storageClass: "for what is written: a class of the store, such as IA or STANDARD_IA (default: the bucket's)"
        case .cache: "on (default) or off: keep on disk what was read, if it was restored or slow to get"
        case .cacheDirectory: "a directory for what was read, and for what is written and not yet stored; on a disk"
        case .cacheSize: "how much of that there may be, such as 10G (default)"
        case .cacheKeepFree: "how much of its disk is left to others, such as 1G (default)"
        case .onFrozen: "block (default), eagain or refuse"
        case .eagainAt: "open (default) or read"
        case .restoreWait: "how long a read waits for a restore: a duration such as 5m (default), or forever"
        case .restoreDays: "how long a copy restored by a read lasts: a number of days (default 3)"
        case .restoreTier: "Expedited, Standard, Bulk or Accelerated (default: the class's own)"
        case .restoreBudget: "how much reads may restore: a size and a time of 60s to 31d, such as 100G/1d (default: any amount)"
        case .restoreDeny: "processes whose reads restore nothing: names as ps -o comm shows them, such as updatedb:baloo_file, or empty for none (default: indexers and thumbnailers)"
        case .restoreAhead: "what a read restores along with its file: off (default), dir or tree"
        case .log: "a file, or - for standard error"
        case .logLevel: "debug, info (default), notice, warning or error"
        }
    }

    var isSwitch: Bool {
        switch self {
        case .readOnly, .readWrite, .allowOther, .defaultPermissions, .pathStyle, .writeBack, .cache: true
        default: false
        }
    }

    /// `--metadata-ttl`
    var flag: String { "--" + rawValue.map { $0 == "_" ? "-" : String($0) }.joined() }

    /// `THAWFS_METADATA_TTL`
    var variable: String { "THAWFS_" + rawValue.uppercased() }

    /// Options of mount(8) and fstab(5) that say nothing to a filesystem, or only what is so anyway.
    static let ignored: Set<String> = [
        "defaults", "auto", "noauto", "nofail", "_netdev", "user", "nouser", "users", "owner", "group", "async", "exec",
        "noatime", "nodiratime", "relatime", "norelatime", "nodev", "nosuid", "nolock",
    ]

    static var help: String {
        "Options, as -o name=value, --name value or THAWFS_NAME:\n\n"
            + allCases.map { "  \($0.rawValue): \($0.expectation)" }.joined(separator: "\n")
    }

    /// Turns `--metadata-ttl 5m` and `--metadata-ttl=5m` into `-o metadata_ttl=5m`, so that there is one way in.
    static func rewritten(_ arguments: [String]) -> [String] {
        var result: [String] = []
        var rest = arguments[...]
        while let word = rest.popFirst() {
            if word == "--" { return result + [word] + rest }
            let parts = word.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            guard let option = allCases.first(where: { $0.flag == parts[0] }) else {
                result.append(word)
                continue
            }
            if parts.count == 2 {
                result += ["-o", "\(option.rawValue)=\(parts[1])"]
            } else if option.isSwitch {
                result += ["-o", option.rawValue]
            } else if let value = rest.popFirst() {
                result += ["-o", "\(option.rawValue)=\(value)"]
            } else {
                result.append(word)
            }
        }
        return result
    }
}
