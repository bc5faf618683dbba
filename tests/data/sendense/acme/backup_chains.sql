-- Written by hand in the shape of mysqldump --tab.
DROP TABLE IF EXISTS `backup_chains`;
CREATE TABLE `backup_chains` (
  `id` varchar(64) NOT NULL,
  `vm_context_id` varchar(64) NOT NULL,
  `disk_id` int NOT NULL,
  `full_backup_id` varchar(64) NOT NULL,
  `latest_backup_id` varchar(64) NOT NULL,
  `total_backups` int DEFAULT 0,
  `total_size_bytes` bigint DEFAULT NULL,
  `updated_at` timestamp NULL DEFAULT NULL,
  PRIMARY KEY (`id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
