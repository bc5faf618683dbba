-- Written by hand in the shape of mysqldump --tab.
DROP TABLE IF EXISTS `backup_disks`;
CREATE TABLE `backup_disks` (
  `id` bigint NOT NULL AUTO_INCREMENT,
  `vm_backup_context_id` varchar(64) NOT NULL,
  `backup_job_id` varchar(64) NOT NULL,
  `disk_index` int NOT NULL,
  `size_gb` bigint NOT NULL,
  `bytes_transferred` bigint DEFAULT 0,
  `status` enum('pending','running','completed','failed') NOT NULL,
  `completed_at` timestamp NULL DEFAULT NULL,
  PRIMARY KEY (`id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
