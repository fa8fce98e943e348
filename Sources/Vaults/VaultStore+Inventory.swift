internal import Logging
package import ObjectStore
internal import Synchronization
package import ThawCore
internal import Wire

extension VaultStore {
    /// About how long an inventory takes (OAS API manual, "Jobs").
    private static let inventoryTime = Duration.seconds(4 * 3600)
    /// Looks at its job are a tenth of its age apart, within these bounds.
    private static let pollMin = Duration.seconds(2)
    private static let pollMax = Duration.seconds(600)
    /// What is read of an inventory at once: whole mebibytes.
    private static let pieceBytes: UInt64 = 16 << 20
    /// It may have been damaged on the way; each attempt reads all of it.
    private static let mergeAttemptsMax = 3

    /// Compares the catalogue with the vault: by an inventory, which takes hours, and by what the jobs tell at once.
    package func refresh(below prefix: ObjectKey) async throws(StoreError) {
        let vault = try await opened()
        _ = try await look(at: vault)
        try await startInventory(vault)
    }

    /// A vault that the catalogue does not have: it was never mounted here, or the catalogue is lost.
    func begin(_ vault: VaultDescription, _ jobs: [VaultJob]) async throws(StoreError) {
        let finished = jobs.filter { $0.action == .inventoryRetrieval && $0.state == .succeeded }
        // Dates are of whole seconds: of one second, the last that is listed.
        if let newest = finished.reversed().max(by: { $0.completed ?? .epoch < $1.completed ?? .epoch }) {
            do throws(StoreError) { try await merge(newest.id, vault.id) } catch {
                guard [.noSuchKey, .invalidObjectState, .nonsense].contains(error.kind) else { throw error }
                log.warning("an inventory of \(name) that is listed cannot be read; a new one is asked for: \(error)")
                return try await startInventory(vault.id)
            }
            log.notice(
                "the names in \(name) are those of an inventory that was there already; setfattr -n user.thaw.refresh on the vault's directory asks for a newer one")
        } else if vault.archiveCount > 0 {
            log.notice("there is no catalogue of \(name), which has \(vault.archiveCount) archives: they appear with its inventory")
            try await startInventory(vault.id)
        } else {
            // It may be as of a time when it was empty, or had not been counted yet: the next mount asks again.
            log.notice(
                "there is no catalogue of \(name), which had no archives when the store last counted them: any that it has by now appear after setfattr -n user.thaw.refresh on the vault's directory")
        }
    }

    /// Asks for an inventory, unless one was asked for. After a reply that was lost, the jobs tell whether it reached
    /// the store.
    private func startInventory(_ vault: String) async throws(StoreError) {
        let isFirst = state.withLock { state in
            defer { state.isAskingInventory = true }
            return !state.isAskingInventory
        }
        guard isFirst else { return }
        defer { state.withLock { $0.isAskingInventory = false } }
        if let pending = try await catalogue.inventory(of: vault) {
            guard pending.job == nil else { return watchInventory(vault) }
            if let job = try await lostInventory(vault, pending) {
                try await catalogue.setInventoryJob(job, of: vault)
                return watchInventory(vault)
            }
        } else {
            try await catalogue.beginInventory(of: vault)
        }
        let job: String
        do throws(StoreError) {
            job = try await client.startJob(.inventory, in: vault)
        } catch {
            let pending = try await catalogue.inventory(of: vault)
            let found = try await lookForJob(after: error) { () async throws(StoreError) in
                guard let pending else { return nil as String? }
                // A look that fails tells nothing.
                return try? await lostInventory(vault, pending)
            }
            guard let found else {
                if !error.isTransient, error.kind != .cancelled { try await catalogue.endInventory(of: vault) }
                throw error
            }
            job = found
        }
        try await catalogue.setInventoryJob(job, of: vault)
        try await catalogue.remember(vault)
        log.notice(
            "an inventory of \(name) is on its way; it is expected by \(WireDate.iso8601(.now() + Self.inventoryTime))")
        watchInventory(vault)
    }

    private func lostInventory(_ vault: String, _ pending: PendingInventory) async throws(StoreError) -> String? {
        let jobs = try await look(at: vault).filter { $0.action == .inventoryRetrieval && $0.state != .failed }
        // The clocks may differ a little.
        let since = pending.askedAt - .seconds(900)
        return jobs.filter { $0.created ?? .epoch >= since }.max { $0.created ?? .epoch < $1.created ?? .epoch }?.id
    }

    /// Follows the inventory that was asked for to its end; one at a time.
    func watchInventory(_ vault: String) {
        state.withLock { state in
            guard state.watch == nil else { return }
            state.senselessMerges = 0
            state.watch = Task { [weak self, sleep] in
                while let pause = await self?.lookAtInventory(vault) {
                    do throws(CancellationError) { try await sleep(pause) } catch { break }
                }
                self?.state.withLock { $0.watch = nil }
            }
        }
    }

    /// Nil once there is none that could be looked at again.
    private func lookAtInventory(_ vault: String) async -> Duration? {
        do throws(StoreError) {
            guard let pending = try await catalogue.inventory(of: vault) else { return nil }
            guard let id = pending.job else {
                try await startInventory(vault)
                return Self.pollMin
            }
            let job = try await client.job(id, of: vault)
            switch job.state {
            case .inProgress: return min(max((.now() - pending.askedAt) / 10, Self.pollMin), Self.pollMax)
            case .succeeded:
                do throws(StoreError) { try await merge(id, vault) } catch {
                    guard error.kind == .nonsense, isLastMerge() else { throw error }
                    log.error("the inventory of \(name) cannot be read; ask again with user.thaw.refresh (\(error))")
                    try await catalogue.endInventory(of: vault)
                    return nil
                }
                await changed()
                // Somebody may have asked for another meanwhile.
                return Self.pollMin
            case .failed:
                log.error("the inventory of \(name) failed: \(job.message); ask again with user.thaw.refresh")
                try await catalogue.endInventory(of: vault)
            }
            return nil
        } catch {
            if error.kind == .noSuchKey {
                log.error("the inventory of \(name) is gone; ask again with user.thaw.refresh (\(error))")
                try? await catalogue.endInventory(of: vault)
                return nil
            }
            log.warning("the inventory of \(name) cannot be looked at, will try again: \(error)")
            return Self.pollMax / 10
        }
    }

    private func isLastMerge() -> Bool {
        state.withLock { state in
            state.senselessMerges += 1
            return state.senselessMerges >= Self.mergeAttemptsMax
        }
    }

    private func merge(_ job: String, _ vault: String) async throws(StoreError) {
        let collector = Collector()
        var offset: UInt64 = 0
        var total: UInt64 = .max
        while offset < total {
            total = try await client.output(
                of: job, in: vault, range: offset..<offset + Self.pieceBytes, totalBytes: nil, into: collector)
            offset += Self.pieceBytes
        }
        guard let json = JSON(collector.bytes.withLock { $0 }), let listed = json["ArchiveList"]?.array,
            let date = json["InventoryDate"]?.string.flatMap({ WireDate.parseRFC1123($0) })
        else { throw .nonsense("an inventory of \(name) that makes no sense") }
        let items = listed.compactMap { InventoryItem($0) }
        guard items.count == listed.count else { throw .nonsense("an inventory of \(name) with archives without ids") }
        let news = try await catalogue.merge(items, at: date, of: vault)
        log.notice(
            "the inventory of \(name) as of \(WireDate.iso8601(date)): \(items.count) archives, \(news.appeared) new here, \(news.vanished) gone")
    }

    private final class Collector: ByteSink {
        let bytes = Mutex<[UInt8]>([])

        func receive(_ bytes: UnsafeRawBufferPointer) -> Bool {
            self.bytes.withLock { $0 += bytes }
            return true
        }
    }
}

extension InventoryItem {
    /// The names inside are those of Glacier where the vendor's documents have none.
    fileprivate init?(_ json: JSON) {
        guard let archive = json["ArchiveId"]?.string,
            let size = json["Size"]?.int ?? json["ArchiveSizeInBytes"]?.int, size >= 0
        else { return nil }
        self.init(
            archive: archive, description: json["ArchiveDescription"]?.string ?? json["Description"]?.string ?? "",
            created: json["CreationDate"]?.string.flatMap { WireDate.parseRFC1123($0) } ?? .epoch,
            sizeBytes: UInt64(size), tree: json["TreeEtag"]?.string ?? json["ArchiveTreeEtag"]?.string ?? "")
    }
}
