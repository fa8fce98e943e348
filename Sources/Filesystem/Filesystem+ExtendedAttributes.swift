internal import Metadata
internal import ObjectStore
internal import Restore
internal import Synchronization
package import ThawCore
internal import Wire

/// The names below `user.thaw.`: what is shown, and what is a command.
package enum ThawAttribute: String, CaseIterable, Sendable {
    case storageClass = "storage_class"
    case restoreStatus = "restore_status"
    case restoreExpiry = "restore_expiry"
    case restoreTier = "restore_tier"
    case restoreRequested = "restore_requested"
    case restoreETA = "restore_eta"
    case etag
    case key
    case versionID = "version_id"
    /// Until when the object can neither be deleted nor replaced, and how many legal holds keep it: asked for by name
    /// only.
    case retentionExpiry = "retention_expiry"
    case legalHolds = "legal_holds"
    // Commands: written, never listed, so that nothing copies them by accident.
    case restore
    case transition
    case refresh
    /// Where the commands of thawfs find this mount's daemon: shown to whoever asks for it by name, on any inode.
    case control

    package static let prefix = "user.thaw."

    package init?(attributeName: String) {
        guard attributeName.hasPrefix(Self.prefix) else { return nil }
        self.init(rawValue: String(attributeName.dropFirst(Self.prefix.count)))
    }

    package var attributeName: String { Self.prefix + rawValue }

    var isCommand: Bool { self == .restore || self == .refresh || self == .transition }
}

extension Filesystem {
    /// The value of an extended attribute.
    package func attribute(_ number: UInt64, _ name: ThawAttribute) async throws(FileError) -> [UInt8] {
        if name == .restore, let directory = inodes[number]?.directory { return try await restoreCounts(directory) }
        if name == .control, let path = configuration.controlPath { return Array(path.utf8) }
        // Commands ask it of a hundred thousand files, and it is at hand.
        if name == .key, let inode = inodes[number] { return inode.directory?.prefix.bytes ?? inode.key.bytes }
        if let value = try await shownAttributes(number)[name] { return value }
        // Listings do not tell the version, nor what protects an object; whoever asks for it by name gets it.
        guard let inode = inodes[number], let home = inode.home, inode.directory == nil else { throw .noSuchAttribute }
        let value: String?
        switch name {
        case .versionID: value = try await head(inode.segment, in: home).versionID
        case .retentionExpiry: value = try await protection(of: inode)?.retention?.description
        case .legalHolds: value = try await protection(of: inode).map { String($0.legalHolds) }
        default: value = nil
        }
        guard let value else { throw .noSuchAttribute }
        return Array(value.utf8)
    }

    private func protection(of inode: Inode) async throws(FileError) -> ObjectProtection? {
        do throws(StoreError) { return try await store.describe(inode.key, version: inode.version).protection } catch {
            report("HEAD", inode.key, error)
            throw FileError(error)
        }
    }

    /// The names of the attributes that the inode has, in a fixed order.
    package func attributeNames(_ number: UInt64) async throws(FileError) -> [ThawAttribute] {
        let shown = try await shownAttributes(number)
        return ThawAttribute.allCases.filter { shown[$0] != nil }
    }

    /// Runs a command attribute. The ones that are shown cannot be set, which `cp -a` and `rsync -X` take calmly.
    package func setAttribute(
        _ number: UInt64, _ name: ThawAttribute, value: [UInt8], caller: Caller
    ) async throws(FileError) {
        switch name {
        case .restore: try await restore(number, String(decoding: value, as: UTF8.self), caller: caller)
        case .transition: try await transition(number, to: String(decoding: value, as: UTF8.self))
        case .refresh: try await refresh(number)
        default: throw .unsupported
        }
    }

    /// Takes a command attribute back. Removing one that is shown does nothing.
    package func removeAttribute(_ number: UInt64, _ name: ThawAttribute, caller: Caller) async throws(FileError) {
        guard inodes[number] != nil else { throw .stale }
        // The ones that are shown come back with every look: `rsync -X` takes away what its source does not have.
        guard name == .restore else {
            if name.isCommand { throw .unsupported }
            return
        }
        try await cancelRestore(number)
    }

    private func shownAttributes(_ number: UInt64) async throws(FileError) -> [ThawAttribute: [UInt8]] {
        guard let inode = inodes[number] else { throw .stale }
        if inode.directory != nil { return [.key: inode.directory?.prefix.bytes ?? []] }
        let record = try await settledRecord(number)
        var shown: [ThawAttribute: [UInt8]] = [:]
        func show(_ name: ThawAttribute, _ text: String?) { shown[name] = text.map { Array($0.utf8) } }
        shown[.key] = inode.key.bytes
        show(.storageClass, record.storageClass.name)
        show(.etag, record.etag)
        show(.versionID, inode.version ?? record.versionID)
        let restore = try await pendingRestore(inode.key, version: inode.version)
        var state = state(of: record, inode)
        if restore != nil, !state.isReadable { state = .restoring }
        show(.restoreStatus, state.name)
        if case .restored(let until?) = state { show(.restoreExpiry, WireDate.iso8601(until)) }
        if let restore, case .restoring = state {
            show(.restoreTier, restore.order.tier?.rawValue)
            show(.restoreRequested, restore.askedAt.map { WireDate.iso8601($0) })
            if let asked = restore.askedAt, let longest = context.rules(for: record)?.longest(restore.order.tier) {
                show(.restoreETA, WireDate.iso8601(asked + longest))
            }
        }
        return shown
    }

    /// Makes the kernel, and us, ask again for every name in these directories that is in use.
    func forgetNames(in directories: [Directory]) {
        let homes = Set(directories.map(\.inode))
        forgetNamesInMemory(homes)
        forgetIdleNames(homes) { [self] in
            // Some have come into memory meanwhile.
            forgetNamesInMemory(homes)
        }
    }

    /// The same of what is on disk: besides, and no faster than the kernel takes it.
    func forgetIdleNames(_ homes: Set<UInt64>, then end: @escaping @Sendable () -> Void = {}) {
        guard inodes.limit?.mayHoldAny ?? false else { return }
        Task {
            await inodes.forEachIdle(in: homes) { names in
                for idle in names {
                    kernelCache.value?.forgetAttributes(of: idle.number)
                    kernelCache.value?.forgetName(idle.name, in: idle.home)
                }
                await kernelCache.value?.waitUntilTold()
            }
            end()
        }
    }

    private func forgetNamesInMemory(_ homes: Set<UInt64>) {
        let names = inodes.withLock { inodes in
            var names: [(name: [UInt8], home: UInt64)] = []
            for (number, inode) in inodes {
                guard let home = inode.home?.inode, homes.contains(home) else { continue }
                names.append((inode.name, home))
                inodes[number]?.checkedAt = .epoch
            }
            return names
        }
        for (name, home) in names { kernelCache.value?.forgetName(name, in: home) }
    }

    private func state(of record: ObjectRecord, _ inode: Inode) -> ArchiveState {
        let state = context.state(of: record, at: .now())
        return inode.isKnownFrozen && state.isReadable ? .frozen : state
    }

    /// Forgets what is cached of a file, or of a directory's names.
    private func refresh(_ number: UInt64) async throws(FileError) {
        guard let inode = inodes[number] else { throw .stale }
        let isTop = number == Self.rootInode || store.hasFixedTopLevel && inode.home?.inode == Self.rootInode
        if isTop, let directory = inode.directory, directory.view == .objects {
            do throws(StoreError) { try await store.refresh(below: directory.prefix) } catch {
                report("refresh", directory.prefix, error)
                throw FileError(error)
            }
        }
        do throws(MetadataError) {
            if let directory = inode.directory {
                if directory.view == .objects {
                    try await writer.expire(directory: directory.prefix, at: .now())
                    directory.progress.withLock { $0 = Directory.Progress() }
                }
                directory.seenVersions.withLock { $0 = nil }
                inodes.update(number) { $0.markerCheckedAt = .epoch }
                kernelCache.value?.forgetAttributes(of: number)
                forgetNames(in: [directory])
            } else {
                try await expire(number, inode)
                await restores.hasten(inode.key, version: inode.version)
                // Whoever polls the file looks at nothing by himself. What goes wrong is in the log.
                if pollers.arePolling(number) { _ = try? await freshRecord(number) }
            }
        } catch {
            throw failure("refresh", inode.key, error)
        }
    }

    /// Forgets every name that is cached: the store has others, and said so.
    package func forgetNames() async {
        do throws(MetadataError) { try await writer.expireTree(configuration.prefix, at: .now()) } catch {
            _ = failure("refresh", configuration.prefix, error)
        }
        let directories = inodes.withLock { inodes in inodes.values.compactMap(\.directory) }
        for directory in directories {
            directory.progress.withLock { $0 = Directory.Progress() }
        }
        forgetNames(in: directories)
    }
}
