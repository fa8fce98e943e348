internal import Metadata
internal import ObjectStore
internal import Synchronization
internal import ThawCore
internal import Wire

/// A HEAD of many objects at once: by listing where the listing tells the restore state and many of them stand
/// together, which is one request for up to a thousand; else one by one, some at a time.
final class BulkHead: Sendable {
    /// What the store says of an object.
    enum Sighting: Sendable {
        case found(ObjectRecord)
        case gone
        case failed(StoreError)
    }

    struct Name: Sendable, Hashable {
        let key: ObjectKey
        let version: String?
    }

    private let store: any ObjectStore
    /// Whether listings tell the restore state. OSS's do, and IBM COS's never; of what else speaks S3 some do, and show
    /// it the first time they list an object that has one.
    private let listsRestoreState: Mutex<Bool?>
    private static let headsAtOnce = 16
    private static let notAsked = StoreError(.cancelled, code: "NotAsked", message: "given up before it was asked")

    init(_ store: any ObjectStore) {
        self.store = store
        let isKnown: Bool? =
            switch store.dialect {
            case .oss, .oas: true
            case .s3: nil
            case .cos: false
            }
        listsRestoreState = Mutex(isKnown)
    }

    /// What the store says of these objects, which are in key order, in the same order. Those in `along` cost no
    /// request: they are seen on the pages that the others need, or not asked for (`failed`).
    ///
    /// With `believingSilence`, an object of which a listing tells no restore state has none, though it is not known
    /// whether this store's listings tell any. Right for objects that are about to be asked for: the store says then
    /// that one is restored or restoring already.
    func look(
        at names: [Name], along: Set<Name> = [], believingSilence: Bool = false
    ) async -> [Sighting] {
        var sightings = [Sighting](repeating: .failed(Self.notAsked), count: names.count)
        var single: [Int] = []
        var unsure: [Int] = []
        var next = 0
        // After a page that had none but the first, some are asked one by one before the next page is tried: more
        // each time.
        var (patience, setback) = (0, 0)
        // A vault's listing may be older than the question. A HEAD is not, and what it learns of the vault's jobs shows
        // in the listings that follow.
        if store.dialect == .oas, names.count > 1, let asked = names.firstIndex(where: { !along.contains($0) }) {
            await head([asked], of: names, &sightings)
            if case .failed(let error) = sightings[asked] { return names.map { _ in .failed(error) } }
        }
        while next < names.count {
            if along.contains(names[next]) {
                next += 1
                continue
            }
            let isListed = next + 1 < names.count && names[next].version == nil && patience == 0
            guard isListed, listsRestoreState.withLock({ $0 }) != false else {
                single.append(next)
                next += 1
                patience = max(patience - 1, 0)
                continue
            }
            let covered: Int
            do throws(StoreError) {
                covered = try await list(names[next...], believingSilence, &sightings, &single, &unsure)
            } catch {
                for index in next..<names.count { sightings[index] = .failed(error) }
                break
            }
            setback = covered < 2 ? min(max(setback * 2, 1), 64) : 0
            patience = setback
            if covered == 0 { single.append(next) }
            next += max(covered, 1)
        }
        await head((single + unsure).filter { !along.contains(names[$0]) }, of: names, &sightings)
        for index in unsure {
            // The listing kept silent about it.
            if case .found(let record) = sightings[index], record.restore != nil {
                listsRestoreState.withLock { $0 = $0 ?? false }
            }
        }
        return sightings
    }

    /// Lists a page that begins with the first of these. Answers how many of them it covers.
    private func list(
        _ names: ArraySlice<Name>, _ believesSilence: Bool, _ sightings: inout [Sighting], _ single: inout [Int],
        _ unsure: inout [Int]
    ) async throws(StoreError) -> Int {
        guard let first = names.first?.key, let last = names.last?.key else { return 0 }
        let page = try await store.list(
            ListRequest(prefix: first.commonPrefix(with: last), delimiter: nil, startAfter: first.predecessor))
        let tellsState = listsRestoreState.withLock { tells in
            if page.objects.contains(where: { $0.record.restore != nil }) { tells = true }
            return tells ?? believesSilence
        }
        var covered = 0
        var objects = page.objects[...]
        for (index, name) in zip(names.indices, names) {
            if page.continuationToken != nil, page.objects.last.map({ $0.key < name.key }) ?? true { break }
            covered += 1
            objects = objects.drop { $0.key < name.key }
            guard name.version == nil, let object = objects.first, object.key == name.key else {
                // Of one that is perhaps gone, too: a HEAD is surer than an absence.
                single.append(index)
                continue
            }
            // Of Intelligent-Tiering only a HEAD tells whether it is archived.
            if object.record.restore != nil || tellsState && !object.record.mayBeArchivedUnseen {
                sightings[index] = .found(object.record)
            } else {
                unsure.append(index)
            }
        }
        return covered
    }

    /// What the store says of these objects, asked one by one, in the same order.
    func heads(of names: [Name]) async -> [Sighting] {
        var sightings = [Sighting](repeating: .failed(Self.notAsked), count: names.count)
        await head(Array(names.indices), of: names, &sightings)
        return sightings
    }

    private func head(_ indices: [Int], of names: [Name], _ sightings: inout [Sighting]) async {
        await withTaskGroup(of: (Int, Sighting).self) { group in
            var rest = indices[...]
            for _ in 0..<Self.headsAtOnce {
                guard let index = rest.popFirst() else { break }
                group.addTask { await (index, self.head(names[index])) }
            }
            for await (index, sighting) in group {
                sightings[index] = sighting
                if let index = rest.popFirst() { group.addTask { await (index, self.head(names[index])) } }
            }
        }
    }

    func head(_ name: Name) async -> Sighting {
        do throws(StoreError) {
            return .found(try await store.head(name.key, version: name.version))
        } catch {
            return error.kind == .noSuchKey ? .gone : .failed(error)
        }
    }
}

extension ObjectKey {
    /// A key shortly before this one, which a listing can start after; nil at the very beginning. Valid UTF-8 as far as
    /// this key is.
    var predecessor: ObjectKey? {
        guard let last = bytes.last else { return nil }
        if (0x22...0x7E).contains(last) {
            return ObjectKey(bytes.dropLast() + [last - 1] + Array("\u{FFFD}".utf8))
        }
        var shorter = bytes
        while let byte = shorter.popLast(), byte & 0xC0 == 0x80 {}
        return ObjectKey(shorter)
    }

    func commonPrefix(with other: ObjectKey) -> ObjectKey {
        var count = zip(bytes, other.bytes).prefix { $0 == $1 }.count
        while count > 0, count < bytes.count, bytes[count] & 0xC0 == 0x80 { count -= 1 }
        return ObjectKey(bytes[..<count])
    }
}
