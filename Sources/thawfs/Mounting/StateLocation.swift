import Glibc
import Metadata
import ObjectStore
import ThawCore
import Wire

/// Where the state of one source is kept: a directory of its own below `state_dir`.
struct StateLocation {
    let path: String

    init(
        _ source: Source, _ store: StoreConfiguration, _ options: MountOptions, _ environment: [String: String]
    ) throws {
        let base = try Self.base(options, environment)
        let identity = "\(source.dialect.rawValue)://\(source.bucket ?? "")/\(source.prefix) \(store.endpoint.authority)"
        let digest = Digest.sha256Hex(Array(identity.utf8)).prefix(12)
        path = "\(base)/\(source.dialect.rawValue)-\(source.bucket ?? "account")-\(digest)"
    }

    /// Of a source that was mounted before with these options.
    init(ofMounted source: String, optionLists: [String]) throws {
        let environment = currentEnvironment()
        let parsed = try Source(source)
        let options = try MountOptions(optionLists: optionLists, environment: environment)
        let store = try options.storeConfiguration(parsed, environment: environment)
        try self.init(parsed, store, options, environment)
        guard access(path, F_OK) == 0 else {
            throw UsageError("\(source) was never mounted with its state in \(path)")
        }
    }

    private static func base(_ options: MountOptions, _ environment: [String: String]) throws -> String {
        let given = options.text(.stateDirectory)
        if let given {
            guard given.hasPrefix("/") else { throw UsageError("state_dir=\(given): expected an absolute path") }
            return given
        }
        if getuid() == 0 { return "/var/lib/thawfs" }
        if let state = environment["XDG_STATE_HOME"], state.hasPrefix("/") { return state + "/thawfs" }
        guard let home = environment["HOME"] else { throw UsageError("no HOME and no state_dir: name a state_dir") }
        return home + "/.local/state/thawfs"
    }

    /// Takes the directory for this mount. A daemon whose mount has just been taken off needs a moment to end: it is
    /// waited for, a living mount is not, and neither is the end of many uploads.
    func open(for mountpoint: Mountpoint) async throws -> StateDirectory {
        for _ in 0..<50 {
            do throws(MetadataError) {
                return try StateDirectory(path: path, holder: mountpoint.path)
            } catch {
                guard case .inUse(let holder) = error, let place = holder.split(separator: " ", maxSplits: 3).last,
                    MountTable.entry(at: String(place)) == nil
                else { throw error }
            }
            try await Task.sleep(for: .milliseconds(100))
        }
        do throws(MetadataError) { return try StateDirectory(path: path, holder: mountpoint.path) } catch {
            guard let uploads = try? Daemon(ofState: path)?.uploads(), !uploads.isEmpty else { throw error }
            throw UsageError("an earlier mount is unmounted and still at work: \(UploadProgress(uploads).line) (\(error))")
        }
    }
}
