import Inventory
import Logging
import Metadata
import ThawCore
import Wire

/// The inventory report that a source's metadata store is to be loaded from.
struct InventoryLoad {
    private let source: Source
    private let bucket: String
    private let location: InventoryLocation

    init(_ source: Source, _ location: InventoryLocation) throws {
        guard let bucket = source.bucket, source.dialect != .oas else {
            throw UsageError("inventory: a report is about one bucket; mount that, not the account, or a vault")
        }
        self.source = source
        self.bucket = bucket
        self.location = location
    }

    /// Nobody has the store open yet, or opens it meanwhile: `state` is locked.
    func run(
        _ state: StateDirectory, _ connection: StoreConnection, onlyNewer: Bool, _ log: Logger
    ) async throws -> InventoryImport.Outcome {
        let store = try connection.store(of: location.bucket)
        let reported = try connection.store(of: bucket)
        let load = try CacheLoad(path: state.databasePath, executor: ThreadExecutor(name: "db-loader"), log: log)
        do throws(InventoryError) {
            return try await InventoryImport(
                location, in: store, about: reported, of: bucket, prefix: source.prefix, log: log
            ).run(into: load, onlyNewer: onlyNewer)
        } catch {
            throw UsageError("\(error)")
        }
    }
}
