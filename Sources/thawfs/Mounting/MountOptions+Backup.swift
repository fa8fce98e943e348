import Backup
import ObjectStore
import Wire

extension MountOptions {
    /// Where Cloud Backup is asked on behalf of a mount: in the bucket's region, unless `hbr_endpoint` says otherwise.
    func backupEndpoint(_ source: Source, _ store: StoreConfiguration) throws -> Endpoint? {
        let given = text(.backupEndpoint)
        guard source.dialect == .oss else {
            if given != nil { throw UsageError("hbr_endpoint is for oss:// only") }
            return nil
        }
        if let given { return try Endpoint(given) }
        return source.bucket == nil || store.region.isEmpty ? nil : BackupClient.endpoint(region: store.region)
    }
}
