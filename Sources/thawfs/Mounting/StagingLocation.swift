import Glibc
import Logging
import ThawCore
import Upload
import Wire

/// Where what is written and not yet stored is kept: a directory below `cache_dir`, of this state directory alone. The
/// state directory has a link to it, by which it is found again when the options are others.
struct StagingLocation {
    private let statePath: String
    private let wanted: String

    init(_ statePath: String, _ options: MountOptions, _ environment: [String: String]) throws {
        self.statePath = statePath
        let name = statePath.split(separator: "/").last ?? "state"
        // Two mounts of one source, by two state directories, share nothing.
        let digest = Digest.sha256Hex(Array(statePath.utf8)).prefix(8)
        wanted = "\(try Self.base(options, environment))/\(name)-\(digest)/staging"
    }

    private static func base(_ options: MountOptions, _ environment: [String: String]) throws -> String {
        if let given = options.text(.cacheDirectory) {
            guard given.hasPrefix("/") else { throw UsageError("cache_dir=\(given): expected an absolute path") }
            return given
        }
        if getuid() == 0 { return "/var/cache/thawfs" }
        if let cache = environment["XDG_CACHE_HOME"], cache.hasPrefix("/") { return cache + "/thawfs" }
        guard let home = environment["HOME"] else { throw UsageError("no HOME and no cache_dir: name a cache_dir") }
        return home + "/.cache/thawfs"
    }

    private static func link(in statePath: String) -> String { statePath + "/staging" }

    /// Where a mount with this state directory staged last; nil when none did.
    static func current(in statePath: String) -> String? {
        var target = [CChar](repeating: 0, count: Int(PATH_MAX))
        let count = readlink(link(in: statePath), &target, target.count)
        guard count > 0 else { return nil }
        return String(decoding: target[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// Makes the directory, of which the caller holds the state's lock. What an earlier mount has staged elsewhere is
    /// stored from there first: `cache_dir` holds from the mount after that. With `hasPromises` the journal names
    /// files, and the place they were in must be there.
    func open(
        _ limits: MountOptions.CacheLimits, writesBack: Bool, hasPromises: Bool, _ log: Logger
    ) throws -> StagingArea {
        var path = wanted
        if hasPromises, let current = Self.current(in: statePath), let code = Self.absence(of: current) {
            throw UsageError(
                "what was accepted by an earlier mount is in \(current), which cannot be read (\(errorText(code))): bring it back, such as by mounting its disk; or give it up: remove the link \(Self.link(in: statePath))")
        }
        if let current = Self.current(in: statePath), current != wanted {
            if !LocalDirectory.names(in: current).isEmpty {
                log.notice("what was written earlier is stored from \(current) first; \(wanted) is for the next mount")
                path = current
            } else {
                rmdir(current)
                BlockLocation(besideStaging: current).remove()
            }
        }
        let area: StagingArea
        do throws(StagingFault) {
            area = try StagingArea(
                directory: path, bytesMax: limits.sizeMaxBytes, keepFreeBytes: limits.keepFreeBytes)
        } catch {
            throw UsageError("cache_dir: \(error)")
        }
        if Self.current(in: statePath) != path {
            let link = Self.link(in: statePath)
            unlink(link)
            guard symlink(path, link) == 0 else { throw UsageError("\(link): \(errorText(errno))") }
        }
        let type = MountTable.entry(containing: path)?.type
        if writesBack, type == "tmpfs" || type == "ramfs" {
            log.warning("\(path) is in memory (\(type ?? "")): what write_back has accepted is lost with the machine; name a cache_dir on a disk")
        }
        return area
    }

    /// Why the directory cannot be read; nil when it can.
    private static func absence(of path: String) -> Int32? {
        guard let listing = opendir(path) else { return errno }
        closedir(listing)
        return nil
    }
}
