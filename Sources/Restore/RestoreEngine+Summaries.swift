internal import Metadata
internal import ObjectStore
package import ThawCore
internal import Wire

extension RestoreEngine {
    /// Finished requests that are told about.
    private static let finishedMax = 20

    /// Unfinished requests and the latest finished ones, the newest first.
    package func requests() async throws(RestoreError) -> [RequestSummary] {
        do throws(MetadataError) {
            return try await reader.requests(finishedMax: Self.finishedMax).map { RequestSummary($0, context) }
        } catch {
            throw .notRemembered("\(error)")
        }
    }

    package func request(_ id: Int64) async throws(RestoreError) -> RequestSummary? {
        do throws(MetadataError) {
            return try await reader.request(id).map { RequestSummary($0, context) }
        } catch {
            throw .notRemembered("\(error)")
        }
    }

    /// Who waits for an object to become readable, the longest first.
    package func whoWaits() -> [WaiterSummary] {
        waiters.flatMap { identity, group in
            group.values.filter(\.waitsForCopy).map {
                WaiterSummary(key: identity.key, version: identity.version, caller: $0.caller, since: $0.since)
            }
        }.sorted { $0.since < $1.since }
    }

    /// The lanes that have had something to do.
    package func laneSummaries() -> [LaneSummary] {
        let minute = clock.date().minute
        return lanes.values.map { lane in
            var lane = lane
            let isPaused = lane.pace.pausedUntil.map { $0 > clock.now() } ?? false
            let isHeldBack = lane.heldBackUntil.map { $0 > clock.date() } ?? false
            return LaneSummary(
                name: lane.limits.lane, perSecond: lane.pace.perSecond, perSecondMax: lane.limits.objectsPerSecond,
                bytesToday: lane.spent.total(at: minute), bytesPerDay: lane.limits.bytesPerDay,
                pauseReason: isHeldBack
                    ? "the provider's bytes of a day are used up" : isPaused ? "the store asked to slow down" : nil)
        }.sorted { $0.name < $1.name }
    }

    /// What restoring these would come to. Asks the store, and sends no restore.
    package func survey(_ wish: RestoreWish, _ scopes: [RestoreScope]) async throws(RestoreError) -> Survey {
        var survey = Survey()
        let objects = scopes.filter { $0.kind == .object }.sorted {
            ($0.key, $0.version ?? "") < ($1.key, $1.version ?? "")
        }
        for start in stride(from: 0, to: objects.count, by: 1000) {
            let batch = objects[start..<min(start + 1000, objects.count)]
            let names = batch.map { Identity(key: $0.key, version: $0.version) }
            let sightings = await bulkHead.look(at: names, believingSilence: true)
            for (scope, sighting) in zip(batch, sightings) {
                switch sighting {
                case .found(let record): survey.add(record, wish, days: days, context, at: clock.date())
                case .gone: survey.missing.append(scope.key)
                case .failed(let error): throw .store(error)
                }
            }
        }
        for scope in scopes where scope.kind != .object {
            try await forEachPage(of: scope) { page async throws(RestoreError) in
                var found = page.map { (Identity(key: $0.key, version: nil), $0.record) }
                do throws(StoreError) { found = try await self.settled(found) } catch { throw .store(error) }
                for (identity, record) in found where !Self.isMarker(identity.key, record) {
                    survey.add(record, wish, days: self.days, self.context, at: self.clock.date())
                }
            }
        }
        return survey
    }

    /// How all that is below the prefix stands, by the store's word and the queue's.
    package func counts(below prefix: ObjectKey) async throws(RestoreError) -> DirectoryCounts {
        var counts = DirectoryCounts()
        try await forEachPage(of: RestoreScope(.tree, prefix)) { page async throws(RestoreError) in
            guard let first = page.first?.key, let last = page.last?.key else { return }
            let known: [(key: ObjectKey, state: RestoreRow.State)]
            do throws(MetadataError) {
                known = try await self.reader.restores(after: first.predecessor ?? .empty, through: last)
            } catch {
                throw .notRemembered("\(error)")
            }
            var found = page.map { (Identity(key: $0.key, version: nil), $0.record) }
            do throws(StoreError) { found = try await self.settled(found) } catch { throw .store(error) }
            var rest = known[...]
            for (identity, record) in found {
                rest = rest.drop { $0.key < identity.key }
                let state = rest.first.flatMap { $0.key == identity.key ? $0.state : nil }
                counts.add(record, state, self.context.state(of: record, at: self.clock.date()))
            }
        }
        return counts
    }

    private func forEachPage(
        of scope: RestoreScope, _ body: ([ListedObject]) async throws(RestoreError) -> Void
    ) async throws(RestoreError) {
        let delimiter = scope.kind == .directory ? UInt8(ascii: "/") : nil
        var listing = Listing(store, ListRequest(prefix: scope.key, delimiter: delimiter))
        while true {
            let page: ListPage?
            do throws(StoreError) { page = try await listing.next() } catch { throw .store(error) }
            guard let page else { return }
            try await body(page.objects)
        }
    }
}

extension Survey {
    mutating func add(
        _ record: ObjectRecord, _ wish: RestoreWish, days: Int, _ context: ArchiveContext, at now: Timestamp
    ) {
        guard let rules = context.rules(for: record) else { return online.add(record.sizeBytes) }
        let order = rules.clamped(days: wish.days ?? days, tier: wish.tier)
        let index = rows.firstIndex { $0.storageClass == record.storageClass && $0.order == order } ?? rows.count
        if index == rows.count {
            rows.append(Row(storageClass: record.storageClass, order: order, longest: rules.longest(order.tier)))
        }
        switch context.state(of: record, at: now) {
        case .online: online.add(record.sizeBytes)
        case .frozen: rows[index].frozen.add(record.sizeBytes)
        case .restoring: rows[index].restoring.add(record.sizeBytes)
        case .restored(let until):
            if order.isLonger(than: until, at: now) {
                rows[index].extended.add(record.sizeBytes)
            } else {
                rows[index].restored.add(record.sizeBytes)
            }
        }
    }
}

extension RestoreOrder {
    /// Whether a copy that lasts until then is to last longer. An hour more is not worth a request: providers round.
    package func isLonger(than until: Timestamp?, at now: Timestamp) -> Bool {
        guard let until, let days else { return false }
        return until < now + .seconds(Int64(days) * 86400 - 3600)
    }
}

extension DirectoryCounts {
    mutating func add(_ record: ObjectRecord, _ known: RestoreRow.State?, _ state: ArchiveState) {
        all.add(record.sizeBytes)
        switch (state, known) {
        case (.online, _): break
        case (.restored, _): restored += 1
        case (.restoring, _), (.frozen, .restoring): restoring += 1
        case (.frozen, .queued), (.frozen, .asking): queued += 1
        case (.frozen, .failed): failed += 1
        case (.frozen, _): frozen += 1
        }
    }
}
