internal import Logging
internal import Metadata
internal import ObjectStore
package import ThawCore
internal import Wire

extension RestoreEngine {
    private static let scopesAtOnce = 1000
    private static let collectorsMax = 8

    // MARK: Describing a request

    /// Begins a request for many objects. Nothing happens before `commit`.
    package func begin(
        _ wish: RestoreWish, target: String, for requester: Requester
    ) async throws(RestoreError) -> Int64 {
        let request = RequestRow(
            origin: requester.origin, requester: requester.name, target: target, days: wish.days, tier: wish.tier,
            createdAt: clock.date(), stage: .described)
        do throws(MetadataError) { return try await writer.open(request) } catch { throw .notRemembered("\(error)") }
    }

    package func add(_ scopes: [RestoreScope], to request: Int64) async throws(RestoreError) {
        let rows = scopes.map { ScopeRow(kind: $0.kind, key: $0.key, version: $0.version) }
        do throws(MetadataError) { try await writer.add(rows, to: request) } catch { throw .notRemembered("\(error)") }
    }

    /// From here on the request is a promise.
    package func commit(_ request: Int64) async throws(RestoreError) {
        do throws(MetadataError) {
            try await writer.commit(request)
            guard let row = try await writer.collecting().first(where: { $0.id == request }) else { return }
            log.info("request \(request) of \(row.requester): restore \(row.target)")
            startCollecting(row)
        } catch {
            throw .notRemembered("\(error)")
        }
    }

    /// Forgets a request that was not committed.
    package func abandon(_ request: Int64) async {
        do throws(MetadataError) { try await writer.abandon(request) } catch {
            log.warning("request \(request), which was given up, is forgotten at the next mount: \(error)")
        }
    }

    /// Has everything below the prefix restored that is frozen. Answers the request's id once it is remembered.
    package func restore(
        below prefix: ObjectKey, _ wish: RestoreWish, for requester: Requester
    ) async throws(RestoreError) -> Int64 {
        let request = try await begin(wish, target: prefix.isEmpty ? "/" : "\(prefix)", for: requester)
        try await add([RestoreScope(.tree, prefix)], to: request)
        try await commit(request)
        return request
    }

    // MARK: Ahead of reads

    /// Restores the neighbours of what a read restores, if the mount says so: those of one directory once.
    func goAhead(of target: RestoreTarget, _ order: RestoreOrder) {
        guard ahead != .off, target.version == nil else { return }
        let slash = UInt8(ascii: "/")
        let directory = ObjectKey(target.key.bytes[..<(target.key.bytes.lastIndex(of: slash).map { $0 + 1 } ?? 0)])
        let now = clock.now()
        if let last = wentAhead[directory], now - last < .seconds(600) { return }
        wentAhead[directory] = now
        if wentAhead.count > 1000 { wentAhead = wentAhead.filter { now - $0.value < .seconds(600) } }
        Task {
            do throws(RestoreError) {
                let requester = Requester(.ahead, "restore_ahead, for a read of \(target.key)")
                let name = directory.isEmpty ? "/" : "\(directory)"
                let request = try await self.begin(
                    RestoreWish(days: order.days, tier: order.tier), target: name, for: requester)
                try await self.add([RestoreScope(self.ahead == .tree ? .tree : .directory, directory)], to: request)
                try await self.commit(request)
            } catch {
                self.log.warning("the neighbours of \(target.key) are not restored along with it: \(error)")
            }
        }
    }

    /// Whether reads may have so much more restored.
    func mayRead(_ bytes: UInt64) -> Bool {
        guard let budget else { return true }
        let spent = spentByReads.total(at: clock.date().minute)
        return spent <= budget.bytes && bytes <= budget.bytes - spent
    }

    func spend(_ bytes: UInt64) {
        if budget != nil { spentByReads.charge(bytes, at: clock.date().minute) }
    }

    // MARK: Collecting

    func startCollecting(_ request: RequestRow) {
        guard collectors[request.id] == nil else { return }
        guard collectors.count - collectorsAsleep < Self.collectorsMax else {
            hasMoreToCollect = true
            return
        }
        collectors[request.id] = Task {
            await self.collect(request)
            self.collectors[request.id] = nil
            await self.collectMore()
        }
    }

    /// Those for which there was no room.
    private func collectMore() async {
        guard hasMoreToCollect else { return }
        hasMoreToCollect = false
        do throws(MetadataError) {
            for request in try await writer.collecting() { startCollecting(request) }
        } catch {
            log.error("requests wait for the next mount: \(error)")
        }
    }

    private func collect(_ request: RequestRow) async {
        var isReported = false
        while !Task.isCancelled {
            do throws(CollectingError) {
                while let scopes = try await nextScopes(request.id) { try await collect(scopes, request) }
                // It may never have had any.
                _ = try await take([], [], .through([]), request)
                return
            } catch {
                switch error {
                case .stopped: return
                case .final(let reason): return await giveUp(request, reason)
                case .later(let reason):
                    if !isReported {
                        log.warning("request \(request.id): \(request.target) cannot be looked through, will try again: \(reason)")
                    }
                    isReported = true
                }
            }
            // What cannot be looked through for months holds up no other.
            let again = clock.now() + .seconds(15)
            collectorsAsleep += 1
            await collectMore()
            try? await clock.sleep(again)
            collectorsAsleep -= 1
        }
    }

    private enum CollectingError: Error {
        case later(String)
        case final(String)
        /// The mount ends; the next one goes on.
        case stopped

        init(_ error: MetadataError) { self = .later("\(error)") }

        /// Credentials come back, and a promise outlives them.
        init(_ error: StoreError) {
            switch error.kind {
            case .cancelled: self = .stopped
            case .denied: self = .later("\(error)")
            default: self = error.isTransient ? .later("\(error)") : .final("\(error)")
            }
        }
    }

    /// Objects that stand together, or one prefix; nil when there is nothing left.
    private func nextScopes(_ request: Int64) async throws(CollectingError) -> [ScopeRow]? {
        let scopes: [ScopeRow]
        do throws(MetadataError) { scopes = try await writer.scopes(of: request, limit: Self.scopesAtOnce) } catch {
            throw CollectingError(error)
        }
        guard let first = scopes.first else { return nil }
        return first.kind == .object ? scopes.filter { $0.kind == .object } : [first]
    }

    private func collect(_ scopes: [ScopeRow], _ request: RequestRow) async throws(CollectingError) {
        if scopes[0].kind == .object {
            let names = scopes.map { Identity(key: $0.key, version: $0.version) }
            let sightings = await bulkHead.look(at: names, believingSilence: true)
            var found: [(Identity, ObjectRecord)] = []
            var failed: [RestoreRow] = []
            for (name, sighting) in zip(names, sightings) {
                switch sighting {
                case .found(let record): found.append((name, record))
                case .gone: failed.append(failure(name, "there is no such object"))
                // One of a list that may not be looked at does not hold up the others.
                case .failed(let error) where error.kind == .cancelled || error.isTransient:
                    throw CollectingError(error)
                case .failed(let error): failed.append(failure(name, "\(error)"))
                }
            }
            _ = try await take(found, failed, .through(scopes), request)
            return
        }
        let scope = scopes[0]
        var listing = Listing(
            store, ListRequest(
                prefix: scope.key, delimiter: scope.kind == .directory ? UInt8(ascii: "/") : nil,
                startAfter: scope.cursor))
        while true {
            let page: ListPage?
            do throws(StoreError) { page = try await listing.next() } catch { throw CollectingError(error) }
            guard let page else { return }
            let found = page.objects.map { (Identity(key: $0.key, version: nil), $0.record) }
            var progress = MetadataWriter.Progress.through([scope])
            if page.continuationToken != nil {
                guard let last = page.objects.last?.key else { continue }
                progress = .reached(scope, last)
            }
            guard try await take(found, [], progress, request) else { return }
        }
    }

    /// Answers whether the request still wants what is in these scopes.
    private func take(
        _ found: [(Identity, ObjectRecord)], _ failed: [RestoreRow], _ progress: MetadataWriter.Progress,
        _ request: RequestRow
    ) async throws(CollectingError) -> Bool {
        let now = clock.date()
        var items = failed
        var bytes: UInt64 = 0
        var isOverBudget = false
        let inCare = request.origin == .ahead ? try await keysInCare(found) : []
        let settled: [(Identity, ObjectRecord)]
        do throws(StoreError) { settled = try await self.settled(found) } catch { throw CollectingError(error) }
        for (identity, record) in settled {
            guard var item = item(identity, record, request, at: now) else { continue }
            if request.origin == .ahead {
                guard item.state == .queued, !inCare.contains(identity.key) else { continue }
                isOverBudget = !mayRead(item.sizeBytes)
                if isOverBudget { break }
                spend(item.sizeBytes)
                item.chargedBytes = budget == nil ? 0 : item.sizeBytes
                bytes += item.chargedBytes
            }
            items.append(item)
        }
        do throws(MetadataError) {
            let isNamed = request.origin == .command
            let changes = try await writer.collect(items, into: request.id, progress, at: now) {
                RestoreRow.merge($0, $1, isNamed: isNamed)
            }
            guard let changes else {
                spentByReads.refund(bytes)
                return false
            }
            if bytes > changes.chargedBytes { spentByReads.refund(bytes - changes.chargedBytes) }
            await note(changes.finished)
            for lane in Set(items.map(\.lane)) where !lane.isEmpty { pump(lane) }
            if items.contains(where: { $0.state == .restoring }) { await scheduleLook() }
        } catch {
            spentByReads.refund(bytes)
            throw CollectingError(error)
        }
        if isOverBudget { throw .final("restore_budget is used up") }
        return true
    }

    /// Which of these, found in key order, are in care and not settled: a read was charged for them already.
    private func keysInCare(_ found: [(Identity, ObjectRecord)]) async throws(CollectingError) -> Set<ObjectKey> {
        guard let first = found.first?.0.key, let last = found.last?.0.key else { return [] }
        do throws(MetadataError) {
            let known = try await reader.restores(after: first.predecessor ?? .empty, through: last)
            return Set(known.filter(\.state.isPending).map(\.key))
        } catch {
            throw CollectingError(error)
        }
    }

    private func failure(_ name: Identity, _ reason: String) -> RestoreRow {
        var row = RestoreRow(
            key: name.key, version: name.version, state: .failed, storageClass: StorageClass(""), lane: "",
            order: RestoreOrder(days: nil, tier: nil), sizeBytes: 0, etag: "", isOneOfMany: true)
        row.error = "\(name.key): \(reason)"
        row.dueAt = clock.date()
        return row
    }

    private func giveUp(_ request: RequestRow, _ reason: String) async {
        log.warning("request \(request.id): \(request.target) is not looked through any further: \(reason)")
        do throws(MetadataError) {
            let changes = try await writer.endCollecting(request.id, because: reason, at: clock.date())
            await note(changes.finished)
        } catch {
            log.error("request \(request.id) is looked through again at the next mount: \(error)")
        }
    }

    /// Asks for what listings do not tell: whether an object of Intelligent-Tiering, or of IBM COS, is archived.
    func settled(_ found: [(Identity, ObjectRecord)]) async throws(StoreError) -> [(Identity, ObjectRecord)] {
        let unsure = found.indices.filter { found[$0].1.mayBeArchivedUnseen }
        guard !unsure.isEmpty else { return found }
        var found = found
        let sightings = await bulkHead.heads(of: unsure.map { found[$0].0 })
        for (index, sighting) in zip(unsure, sightings) {
            switch sighting {
            case .found(let record): found[index].1 = record
            case .gone: break
            case .failed(let error): throw error
            }
        }
        return found
    }

    /// The markers that stand for directories have no content to be read.
    static func isMarker(_ key: ObjectKey, _ record: ObjectRecord) -> Bool {
        record.sizeBytes == 0 && key.bytes.last == UInt8(ascii: "/")
    }

    /// The object as it is to be taken into care; nil for one that needs none.
    private func item(
        _ identity: Identity, _ record: ObjectRecord, _ request: RequestRow, at now: Timestamp
    ) -> RestoreRow? {
        guard !Self.isMarker(identity.key, record), let rules = context.rules(for: record) else { return nil }
        let order = rules.clamped(days: request.days ?? days, tier: request.tier)
        var row = RestoreRow(
            key: identity.key, version: identity.version, state: .queued, storageClass: record.storageClass,
            lane: rules.limits.lane, order: order, sizeBytes: record.sizeBytes, etag: record.etag, isOneOfMany: true)
        if request.origin == .command { row.moreDays = order.days }
        switch context.state(of: record, at: now) {
        case .online: return nil
        case .frozen: break
        case .restoring:
            row.state = .restoring
            row.askedAt = now
            row.dueAt = rules.nextLook(tier: order.tier, askedAt: now, now: now, jitter: 1)
        case .restored(let until):
            row.copyUntil = until ?? .epoch
            if order.isLonger(than: until, at: now) { break }
            row.state = .restored
            row.moreDays = nil
            row.dueAt = until.map { PollSchedule.renewal(until: $0, at: now) } ?? .distantFuture
        }
        return row
    }
}
